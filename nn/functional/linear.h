// Linear layers with what surrounds them in a transformer block, LayerNorm and GELU, as
// differentiable functions.
//
//   qkv = linear(x, w_qkv, {.bias, .layer_norm = &norm1})
//   x   = linear(attention(qkv), w_proj, {.bias, .residual = x, .keep})
//   h   = linear(x, w_fc1, {.bias, .layer_norm = &norm2})
//   x   = linear(h, w_fc2, {.bias, .gelu = true, .residual = x, .keep})
//
// The tape keeps each layer's input and, with a LayerNorm, two numbers a row: a block of width D
// keeps x, qkv, the attention's output, x and h, 10 D a token.
#pragma once

#include "nn/context.h"

namespace mono {

struct LayerNorm {
  const Parameter *weight, *bias;  // (D)
  double eps = 1e-6;
};

struct LinearOptions {
  const Parameter* bias = nullptr;
  // Prologue, at most one of the two: x is normalised, or goes through the exact (erf) GELU, first.
  // The result is computed again in backward, not kept.
  const LayerNorm* layer_norm = nullptr;
  bool gelu = false;
  // Epilogue: y = residual + keep[n] (x w^T + bias). The gradient of y becomes the residual's
  // without a copy where it is the first.
  Variable residual = {};
  Tensor keep = {};  // (N) f32, on x's device, of x (N, ..., in): drop path's 0 or 1 / keep
};

// x (..., in) packed, w (out, in) -> (..., out). The parameters must outlive the backward pass;
// LinearOptions and LayerNorm need not.
Variable linear(const Variable& x, const Parameter& w, const LinearOptions& options,
                const ForwardContext& context);
// y = x w^T + bias; bias (out) or null.
Variable linear(const Variable& x, const Parameter& w, const Parameter* bias,
                const ForwardContext& context);

// Of the innermost extent of x, packed. Keeps x and two numbers a row.
Variable layer_norm(const Variable& x, const LayerNorm& norm, const ForwardContext& context);
// Exact (erf) GELU of a packed x, which it keeps.
Variable gelu(const Variable& x, const ForwardContext& context);

}  // namespace mono
