// The dense block as one differentiable operation with one tape entry.
#pragma once

#include <vector>

#include "nn/domain/domain_batch_norm.h"

namespace mono {

// One dense layer: bn1-relu-conv1x1-bn2-relu-conv3x3.
struct DenseLayer {
  const NormLayer* norm1 = nullptr;
  const Parameter* conv1 = nullptr;  // (B,1,1,C_l)
  const NormLayer* norm2 = nullptr;
  const Parameter* conv2 = nullptr;  // (g,3,3,B)
};

struct DenseBlockResult {
  Variable x;       // (N,H,W,C_total)
  Moments moments;  // batch statistics of x (segments, C_total); empty with a table policy
};

// x (N,H,W,C0) packed. `layers` must outlive the backward pass.
DenseBlockResult dense_block(const Variable& x, const std::vector<DenseLayer>& layers,
                             const ForwardContext& context);

}  // namespace mono
