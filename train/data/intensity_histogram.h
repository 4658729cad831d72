// The floor under every embedding: what the brightness of pixels alone tells.
//
// For each channel the shares of pixels in 32 bins of sqrt(count), twice as fine as whole numbers
// (sqrt makes the noise of photon counts even, and most pixels of these screens are dark), and of
// each share its square root. So a channel has norm 1, and the cosine of two images is the mean
// over channels of Bhattacharyya's coefficient of their histograms.
#pragma once

#include "nn/functional/nearest.h"
#include "train/data/image_source.h"

#include <span>

namespace mono {

inline constexpr int kIntensityBins = 32;

// A row of channels.size() x 32 numbers for each of `sites`, in their order. Reads every image
// once, in parallel. Errors: those of reading.
Features intensity_histograms(const ImageSource& images, std::span<const int> sites,
                              std::span<const int> channels);

}  // namespace mono
