// Reductions: a thread adds up what is its own in double, then the block's threads as a tree.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/simt.cuh"

namespace mono {

inline constexpr int kReduceThreads = 256;

// The block's sum, in every thread; the order is fixed.
__device__ __forceinline__ double block_sum(double value) {
  using Values = double[kReduceThreads];
  MONO_SHARED(Values, values);
  values[threadIdx.x] = value;
  __syncthreads();
  for (int half = kReduceThreads / 2; half > 0; half /= 2) {
    if (static_cast<int>(threadIdx.x) < half) values[threadIdx.x] += values[threadIdx.x + half];
    __syncthreads();
  }
  return values[0];
}

// One thread a column; neighbouring threads read neighbouring elements.
template <class T>
__global__ void __launch_bounds__(kReduceThreads)
    column_sums_kernel(int rows, int columns, const T* x, Master<T>* sums, bool accumulate) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= columns) return;
  double sum = 0;
  for (int r = 0; r < rows; ++r)
    sum += static_cast<double>(static_cast<Master<T>>(x[int64_t{r} * columns + c]));
  sums[c] = static_cast<Master<T>>((accumulate ? static_cast<double>(sums[c]) : 0.0) + sum);
}

// Block b squares elements [b * unit, (b + 1) * unit).
template <class M>
__global__ void __launch_bounds__(kReduceThreads)
    squares_kernel(int64_t n, int64_t unit, const M* x, double* partial) {
  const int64_t begin = blockIdx.x * unit, end = begin + unit < n ? begin + unit : n;
  double sum = 0;
  for (int64_t i = begin + threadIdx.x; i < end; i += kReduceThreads) {
    const double value = static_cast<double>(x[i]);
    sum = fma(value, value, sum);
  }
  sum = block_sum(sum);
  if (threadIdx.x == 0) partial[blockIdx.x] = sum;
}

// *into = (add ? *into : 0) + weight * (sum of x / divisor); one block.
template <class M>
__global__ void __launch_bounds__(kReduceThreads)
    total_kernel(int n, const M* x, double weight, double divisor, bool add, double* into) {
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kReduceThreads)
    sum += static_cast<double>(x[i]);
  sum = block_sum(sum);
  if (threadIdx.x == 0) *into = (add ? *into : 0.0) + weight * (sum / divisor);
}

// The index of the largest of a warp's values, the first of equals. Every lane brings its best.
template <class E>
__device__ __forceinline__ int warp_argmax(E value, int index) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const E other = __shfl_xor_sync(0xffffffffu, value, lanes);
    const int at = __shfl_xor_sync(0xffffffffu, index, lanes);
    if (other > value || (other == value && at < index)) {
      value = other;
      index = at;
    }
  }
  return index;
}

// The first largest of a row, by one warp.
template <class T>
__device__ __forceinline__ int row_argmax(int columns, const T* row) {
  using E = Master<T>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  int index = lane < columns ? lane : columns - 1;
  E best = static_cast<E>(row[index]);
  for (int c = lane + 32; c < columns; c += 32) {
    const E value = static_cast<E>(row[c]);
    if (value > best) {
      best = value;
      index = c;
    }
  }
  return warp_argmax(best, index);
}

// One block; a warp takes every eighth row.
template <class T>
__global__ void __launch_bounds__(kReduceThreads)
    accuracy_kernel(int rows, int columns, const T* logits, const float* targets, double* into) {
  int right = 0;
  for (int r = static_cast<int>(threadIdx.x / 32); r < rows; r += kReduceThreads / 32) {
    const int64_t at = int64_t{r} * columns;
    right += row_argmax(columns, logits + at) == row_argmax(columns, targets + at);
  }
  const double total = block_sum(threadIdx.x % 32 == 0 ? right : 0);
  if (threadIdx.x == 0) *into += total / rows;
}

}  // namespace mono
