// Multi-head self-attention as a differentiable function.
#pragma once

#include "nn/context.h"

namespace mono {

// softmax(q k^T / sqrt(head_dim)) v of every image and head.
// qkv (N,T,3D) packed: q, k and v of each token side by side, each of `heads` runs of D / heads
// elements, as one matrix product from D to 3D makes them. Returns (N,T,D).
// D / heads must be a multiple of 8, 128 at most. Keeps qkv, the result and its (N,heads,T)
// logarithms of sums for backward; never a T x T matrix.
Variable attention(const Variable& qkv, int heads, const ForwardContext& context);

}  // namespace mono
