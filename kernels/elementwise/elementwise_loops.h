// The vectorised loops of the elementwise operations, one unit each. Private to this folder.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/elementwise/elementwise.h"

namespace mono {

MONO_DECLARE_SIMD(template <class T> void add_unit(int64_t n, const T* a, const T* b, T* y))
MONO_DECLARE_SIMD(template <class T> void relu_forward_unit(int64_t n, const T* x, T* y))
MONO_DECLARE_SIMD(template <class T> void relu_backward_unit(int64_t n, const T* dy, const T* y,
                                                             T* dx, bool accumulate))
MONO_DECLARE_SIMD(template <class T>
                  void scale_unit(int64_t n, Master<T> alpha, const T* x, T* y, bool accumulate))
MONO_DECLARE_SIMD(template <class To, class From>
                  void copy_unit(int64_t n, const From* x, To* y, bool accumulate))
MONO_DECLARE_SIMD(template <class M> double sum_of_squares_unit(int64_t n, const M* x))

}  // namespace mono
