// DINO's cross-entropy on the GPU: a block a row, sums in double.
#pragma once

#include <cmath>

#include "kernels/dino/dino.h"
#include "kernels/simt/block_sum.cuh"

namespace mono {

inline constexpr int kDinoThreads = 256;

// The largest value of a block, given to all threads. `shared` is free again on return.
template <class M>
__device__ __forceinline__ M block_largest(M value, M* shared) {
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const M other = __shfl_xor_sync(0xffffffffu, value, lanes);
    value = other > value ? other : value;
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  for (int warp = 0; warp < kDinoThreads / 32; ++warp)
    value = shared[warp] > value ? shared[warp] : value;
  __syncthreads();
  return value;
}

template <class M>
__global__ void __launch_bounds__(kDinoThreads) softmax_rows_kernel(int K, const M* x, M* y) {
  using Sums = double[kDinoThreads / 32];
  using Values = M[kDinoThreads / 32];
  MONO_SHARED(Sums, sums);
  MONO_SHARED(Values, values);
  x += int64_t{blockIdx.x} * K;
  y += int64_t{blockIdx.x} * K;
  M highest = -static_cast<M>(INFINITY);
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads)
    highest = x[k] > highest ? x[k] : highest;
  highest = block_largest<M>(highest, static_cast<M*>(values));
  double sum = 0;
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads)
    sum += static_cast<double>(y[k] = std::exp(x[k] - highest));
  sum = block_sum<kDinoThreads>(sum, static_cast<double*>(sums));
  const M inverse = static_cast<M>(1 / sum);
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads) y[k] *= inverse;
}

// The teacher's rows that view `view` of pair `b` learns from; the second one, or both, may be
// null.
template <class M>
struct DinoTeachers {
  const M *first = nullptr, *second = nullptr;

  __device__ __forceinline__ DinoTeachers(const ViewPairs& pairs, const M* teacher, int B, int K,
                                          int row) {
    const int view = row / B, b = row - view * B;
    if (pairs.has(0, view)) first = teacher + int64_t{b} * K;
    if (pairs.has(1, view)) second = teacher + (int64_t{B} + b) * K;
    if (!first) {
      first = second;
      second = nullptr;
    }
  }
  __device__ __forceinline__ M at(int k) const { return first[k] + (second ? second[k] : M(0)); }
};

template <class T>
__global__ void __launch_bounds__(kDinoThreads)
    dino_forward_kernel(int B, int K, ViewPairs pairs, const T* __restrict__ student,
                        const double* __restrict__ temperature,
                        const Master<T>* __restrict__ teacher, double scale, Master<T>* losses,
                        Master<T>* rows) {
  using M = Master<T>;
  using Sums = double[kDinoThreads / 32];
  using Values = M[kDinoThreads / 32];
  MONO_SHARED(Sums, sums);
  MONO_SHARED(Values, values);
  const int64_t row = blockIdx.x;
  const T* const logits = student + row * K;
  const M inverse = static_cast<M>(1 / *temperature);
  M highest = -static_cast<M>(INFINITY);
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads) {
    const M logit = static_cast<M>(logits[k]);
    highest = logit > highest ? logit : highest;
  }
  highest = block_largest<M>(highest, static_cast<M*>(values));
  double sum = 0;  // a logit that is not finite makes it NaN, and the loss with it
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads)
    sum += static_cast<double>(std::exp((static_cast<M>(logits[k]) - highest) * inverse));
  sum = block_sum<kDinoThreads>(sum, static_cast<double*>(sums));
  const double log_sum = log(sum);
  const DinoTeachers<M> teachers(pairs, teacher, B, K, static_cast<int>(blockIdx.x));
  double loss = 0;
  if (teachers.first)
    for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads)
      loss += static_cast<double>(teachers.at(k)) *
              (log_sum - static_cast<double>((static_cast<M>(logits[k]) - highest) * inverse));
  loss = block_sum<kDinoThreads>(loss, static_cast<double*>(sums));
  if (threadIdx.x != 0) return;
  losses[row] = static_cast<M>(scale * loss);
  rows[2 * row] = highest;
  rows[2 * row + 1] = static_cast<M>(1 / sum);
}

template <class T>
__global__ void __launch_bounds__(kDinoThreads)
    dino_backward_kernel(int B, int K, ViewPairs pairs, const T* __restrict__ student,
                         const double* __restrict__ temperature,
                         const Master<T>* __restrict__ teacher, const Master<T>* __restrict__ rows,
                         double scale, T* dstudent, bool accumulate) {
  using M = Master<T>;
  const int64_t row = blockIdx.x;
  const DinoTeachers<M> teachers(pairs, teacher, B, K, static_cast<int>(blockIdx.x));
  const M inverse = static_cast<M>(1 / *temperature), factor = static_cast<M>(scale / *temperature);
  const M highest = rows[2 * row];
  const M mass =
      static_cast<M>((teachers.first ? 1 : 0) + (teachers.second ? 1 : 0)) * rows[2 * row + 1];
  const T* const logits = student + row * K;
  T* const to = dstudent + row * K;
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kDinoThreads) {
    const M q = mass * std::exp((static_cast<M>(logits[k]) - highest) * inverse);
    const M g = factor * (q - (teachers.first ? teachers.at(k) : M(0)));
    to[k] = T(accumulate ? static_cast<M>(to[k]) + g : g);
  }
}

}  // namespace mono
