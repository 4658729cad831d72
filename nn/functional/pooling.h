// Pooling as differentiable functions. x (N,H,W,C) packed.
#pragma once

#include "nn/context.h"

namespace mono {

Variable max_pool(const Variable& x, int window, int stride, int pad,
                  const ForwardContext& context);
Variable average_pool(const Variable& x, int window, int stride, const ForwardContext& context);
// (N,H,W,C) -> (N,C)
Variable global_average_pool(const Variable& x, const ForwardContext& context);

}  // namespace mono
