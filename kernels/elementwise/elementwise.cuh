// Elementwise kernels: one thread an element, a grid-stride loop, so that any n runs on any grid.
// Traffic: each operand once; neighbouring threads touch neighbouring elements.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/block_sum.cuh"

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

// One thread a value; index null: row r of the output is row r of the table.
template <class M>
__global__ void copy_rows_kernel(int rows, int C, const M* table, int64_t ld_table,
                                 const int* index, M* y, int64_t ldy) {
  MONO_FOR_ELEMENTS(i, int64_t{rows} * C) {
    const int64_t row = i / C, c = i - row * C;
    y[row * ldy + c] = table[(index ? index[row] : row) * ld_table + c];
  }
}

template <class T>
__global__ void scale_by_kernel(int64_t n, const double* alpha, const T* x, T* y, bool accumulate) {
  using M = Master<T>;
  const M factor = static_cast<M>(*alpha);
  MONO_FOR_ELEMENTS(i, n) {
    const M value = static_cast<M>(x[i]);
    y[i] = T(accumulate ? fma(factor, value, static_cast<M>(y[i])) : factor * value);
  }
}

inline constexpr int kSumThreads = 256;

// sums[block] = sum of squares, in double, of the block's unit of x.
template <class M>
__global__ void __launch_bounds__(kSumThreads)
    sum_of_squares_kernel(int64_t n, int64_t unit, const M* __restrict__ x, double* sums) {
  using Shared = double[kSumThreads / 32];
  MONO_SHARED(Shared, shared);
  const int64_t begin = blockIdx.x * unit, end = min(begin + unit, n);
  double sum = 0;
#pragma unroll 8
  for (int64_t i = begin + threadIdx.x; i < end; i += kSumThreads) {
    const double v = x[i];
    sum = fma(v, v, sum);
  }
  sum = block_sum<kSumThreads>(sum, static_cast<double*>(shared));
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// *result = the sum of `units` values, by one block.
template <class V>
__global__ void __launch_bounds__(kSumThreads)
    add_units_kernel(int units, const V* sums, V* result) {
  using Shared = V[kSumThreads / 32];
  MONO_SHARED(Shared, shared);
  V sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < units; i += kSumThreads) sum += sums[i];
  sum = block_sum<kSumThreads>(sum, static_cast<V*>(shared));
  if (threadIdx.x == 0) *result = sum;
}

}  // namespace mono
