// DomainBatchNorm: batch normalisation whose statistics belong to a domain (RxRx1, AdaBN).
//
//   y = relu(gamma * (x - mean[d]) / sqrt(variance[d] + eps) + beta + residual)
//
// Gamma and beta are shared by all domains; mean and variance are those of the image's own domain:
// the segment's (training, "group" evaluation) or the experiment's, accumulated beforehand. It
// removes what an experiment does to every image alike: gain, offset, staining, and leaves what
// differs between the images of one experiment: the perturbation. With running statistics instead
// it is the ordinary baseline.
#pragma once

#include "nn/context.h"

namespace mono {

// Statistics of an activation that its producer computed on the way: mean and biased variance
// (segments, C), with a row pitch. Empty: unknown.
struct Moments {
  Tensor mean, variance;
  explicit operator bool() const { return mean.defined(); }
};

// The statistics that `context` prescribes for a layer, (segments, C). Batch statistics are
// computed from x unless `known`, and recorded where the policy wants them.
Moments layer_statistics(const NormLayer& layer, const ForwardContext& context, const Tensor& x,
                         const Moments& known);

// The policy's table rows of a layer, gathered to (segments, C): into packed tensors, or new ones.
void gather_statistics(const NormLayer& layer, const ForwardContext& context, const Moments& to);
Moments table_statistics(const NormLayer& layer, const ForwardContext& context);

// Records batch statistics of a layer where the policy wants them.
void record_statistics(const NormLayer& layer, const ForwardContext& context,
                       const Moments& moments, int64_t pixels_per_image);

// Throws where a segment has too few values for batch statistics.
void check_batch_statistics(const std::string& layer, const ForwardContext& context, int images,
                            int64_t pixels_per_image);

struct DomainBatchNormOptions {
  bool relu = true;
  Variable residual = {};  // added before the ReLU; same shape as x, packed
  Moments known = {};      // batch statistics of x, where its producer computed them
};

// x (N,H,W,C) or (N,C), packed; returns a packed activation of the same shape and dtype.
Variable domain_batch_norm(const Variable& x, const NormLayer& layer, const ForwardContext& context,
                           const DomainBatchNormOptions& options = {});

}  // namespace mono
