// A group of images on its way to the network: read by a loader, made into tensors by the step.
//
// Reading (files, decoding) and drawing (Philox) happen in loader threads; what touches every pixel
// of the network's input happens here, on all compute threads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/functional/augmentation.h"
#include "train/setup.h"

namespace mono {

// Pixels of some sites, and how each is to be augmented. Without mixing, flips and crop offsets an
// AugmentImage is the identity.
struct RawBatch {
  std::vector<int> sites;            // indices into Dataset::sites
  Tensor planes;                     // (N,C,H,W) u8, channels as in RunSetup::channels; read to
                                     // the host, handed out by the loader on RunSetup::device
  std::vector<AugmentImage> values;  // (N)
  std::vector<float> own_share;      // (N) of each image in its target; the rest is its partner's
};

// What the network sees, on RunSetup::device.
struct Batch {
  Tensor images;         // (N,P,P,C) of RunSetup::precision
  Tensor targets;        // (N, classes) f32, rows sum to 1; a row of zeros where unlabelled
  Tensor batch_targets;  // (N, experiments) f32
};

// Reads the sites' planes, to page-locked memory if they go to a GPU; central crop, no flips, no
// mixing: what evaluation uses, and what the sampler's draws are written over. Thread-safe. Throws
// Error(data) naming the file.
RawBatch read_batch(const RunSetup& setup, std::span<const int> sites);

// On the device of `raw.planes`. `smoothing` moves that share of every target to the uniform
// distribution.
Batch make_batch(const RunSetup& setup, const RawBatch& raw, double smoothing = 0);

}  // namespace mono
