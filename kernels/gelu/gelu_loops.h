// The vectorised loops of GELU, also for a matrix product's prologue and epilogue
// (kernels/linear). Not for callers.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/gelu/gelu.h"

namespace mono {

MONO_DECLARE_SIMD(template <class T> void gelu_forward_unit(int64_t n, const T* x, T* y))
// dx (+)= dy gelu'(x)
MONO_DECLARE_SIMD(template <class T> void gelu_backward_unit(int64_t n, const T* dy, const T* x,
                                                             T* dx, bool accumulate))

}  // namespace mono
