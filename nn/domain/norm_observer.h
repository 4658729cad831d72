// NormObserver: looks at what arrives at every batch norm of a forward pass, in the order in which
// they run. For explanations (train/explain/); a pass without one pays nothing for it.
//
// A batch norm is where an experiment's shift and scale would show: its input has been through all
// layers below, and the statistics that it is normalised with are known there. What is observed
// changes nothing of what the pass computes.
#pragma once

#include "kernels/base/segments.h"
#include "nn/domain/norm_statistics.h"

namespace mono {

// All tensors are on the host and live for the call.
struct NormInput {
  const NormLayer& layer;
  Tensor x;               // (N,H,W,C) or (N,C); perhaps a channel slice of a larger buffer
  Tensor mean, variance;  // (segments, C): what the layer normalises x with; perhaps slices
  Segments segments;      // of the N images
  bool relu = true;       // whether a ReLU follows (behind the residual, where there is one)
};

class NormObserver {
 public:
  virtual ~NormObserver() = default;
  virtual void see(const NormInput& input) = 0;
};

}  // namespace mono
