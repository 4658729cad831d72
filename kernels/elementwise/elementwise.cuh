// Elementwise kernels: one thread an element, a grid-stride loop, so that any n runs on any grid.
// Traffic: each operand once; neighbouring threads touch neighbouring elements.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/simt.cuh"

namespace mono {

// y = op(x...) or y += op(x...), computed in Master<T>.
template <class T>
__device__ __forceinline__ void store(T* y, Master<T> value, bool accumulate) {
  *y = T(accumulate ? static_cast<Master<T>>(*y) + value : value);
}

#define MONO_FOR_ELEMENTS(i, n)                                             \
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < (n); \
       i += int64_t{gridDim.x} * blockDim.x)

template <class T>
__global__ void add_kernel(int64_t n, const T* a, const T* b, T* y) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, n) y[i] = T(static_cast<M>(a[i]) + static_cast<M>(b[i]));
}

template <class T>
__global__ void relu_forward_kernel(int64_t n, const T* x, T* y) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, n) {
    const M value = static_cast<M>(x[i]);
    y[i] = T(value > 0 ? value : M(0));
  }
}

template <class T>
__global__ void relu_backward_kernel(int64_t n, const T* dy, const T* y, T* dx, bool accumulate) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, n)
  store(dx + i, static_cast<M>(y[i]) > 0 ? static_cast<M>(dy[i]) : M(0), accumulate);
}

template <class T>
__global__ void scale_kernel(int64_t n, Master<T> alpha, const T* x, T* y, bool accumulate) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, n) {
    const M value = static_cast<M>(x[i]);
    y[i] = T(accumulate ? fma(alpha, value, static_cast<M>(y[i])) : alpha * value);
  }
}

// One thread a channel of a pixel.
template <class To, class From>
__global__ void copy_channels_kernel(int64_t pixels, int C, const From* x, int ldx, To* y, int ldy,
                                     bool accumulate) {
  MONO_FOR_ELEMENTS(i, pixels * C) {
    const int64_t pixel = i / C;
    const int c = static_cast<int>(i - pixel * C);
    store(y + pixel * ldy + c,
          static_cast<Master<To>>(static_cast<Master<From>>(x[pixel * ldx + c])), accumulate);
  }
}

}  // namespace mono
