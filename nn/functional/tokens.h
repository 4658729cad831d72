// From patches to a vision transformer's tokens, and from tokens to the class token, as
// differentiable functions. Token 0 is CLS.
#pragma once

#include "kernels/tokens/position_weights.h"
#include "nn/context.h"

namespace mono {

// patches (N,H,W,D), packed -> (N, 1 + HW, D): CLS, then the patches row by row, each with its
// position's embedding. cls has D values; pos (1 + G^2) D: CLS's, then those of the grid that was
// learnt, resampled by `rule` where H or W is not G; its gradient is that of the learnt grid. bias
// (D): the patch embedding's, added to the patches (its convolution has none); may be null.
Variable tokens(const Variable& patches, const Parameter& cls, const Parameter& pos,
                PositionRule rule, const ForwardContext& context, const Parameter* bias = nullptr);

// The first token of every image: (N,T,D) -> (N,D).
Variable class_token(const Variable& x, const ForwardContext& context);

}  // namespace mono
