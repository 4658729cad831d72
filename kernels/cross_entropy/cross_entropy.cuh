// Softmax cross-entropy on the GPU: a block a row, its logits read three times (from the second on
// out of the first-level cache), sums in double. A row is K * (sizeof(T) + 4) bytes from memory;
// exponentials are the rest of the work.
#pragma once

#include <climits>
#include <cmath>

#include "kernels/base/dtype.h"
#include "kernels/simt/block_sum.cuh"

namespace mono {

inline constexpr int kCrossEntropyThreads = 256;

// A value and where it is; the larger one wins, of equals the first, and NaN never.
template <class M>
struct Largest {
  M value;
  int at;

  __device__ __forceinline__ void consider(M other, int other_at) {
    if (other > value || (other == value && other_at < at)) {
      value = other;
      at = other_at;
    }
  }
};

// Of the values of a row of K, given to all threads; at is 0 where the row begins with NaN (nothing
// is larger than that) or has nothing but NaN.
template <class T, class M>
__device__ __forceinline__ Largest<M> row_largest(int K, const T* row, Largest<M>* shared) {
  Largest<M> best{-static_cast<M>(INFINITY), INT_MAX};
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kCrossEntropyThreads)
    best.consider(static_cast<M>(row[k]), k);
  for (int lanes = 16; lanes > 0; lanes /= 2) {
    const M value = __shfl_xor_sync(0xffffffffu, best.value, lanes);
    best.consider(value, __shfl_xor_sync(0xffffffffu, best.at, lanes));
  }
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = best;
  __syncthreads();
  for (int warp = 0; warp < kCrossEntropyThreads / 32; ++warp)
    best.consider(shared[warp].value, shared[warp].at);
  __syncthreads();  // shared is free again
  const M first = static_cast<M>(row[0]);
  if (best.at >= K || first != first) best.at = 0;
  return best;
}

template <class T>
__global__ void __launch_bounds__(kCrossEntropyThreads, 4)
    cross_entropy_forward_kernel(int K, const T* __restrict__ logits,
                                 const float* __restrict__ targets, Master<T>* losses,
                                 Master<T>* log_sum_exp) {
  using M = Master<T>;
  using Sums = double[kCrossEntropyThreads / 32];
  using Best = Largest<M>[kCrossEntropyThreads / 32];
  MONO_SHARED(Sums, sums);
  MONO_SHARED(Best, largest);
  const T* const y = logits + int64_t{blockIdx.x} * K;
  const float* const t = targets + int64_t{blockIdx.x} * K;
  const M highest = row_largest<T, M>(K, y, largest).value;
  double sum = 0;  // a NaN or infinite logit makes it NaN, and the loss with it
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kCrossEntropyThreads)
    sum += static_cast<double>(std::exp(static_cast<M>(y[k]) - highest));
  const double log_sum =
      highest + log(block_sum<kCrossEntropyThreads>(sum, static_cast<double*>(sums)));
  double loss = 0;
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kCrossEntropyThreads)
    loss += double{t[k]} * (log_sum - static_cast<M>(y[k]));
  loss = block_sum<kCrossEntropyThreads>(loss, static_cast<double*>(sums));
  if (threadIdx.x != 0) return;
  losses[blockIdx.x] = static_cast<M>(loss);
  log_sum_exp[blockIdx.x] = static_cast<M>(log_sum);
}

template <class T>
__global__ void __launch_bounds__(kCrossEntropyThreads, 4)
    cross_entropy_backward_kernel(int K, const T* __restrict__ logits,
                                  const float* __restrict__ targets,
                                  const Master<T>* __restrict__ log_sum_exp, Master<T> weight,
                                  T* dlogits, bool accumulate) {
  using M = Master<T>;
  using Sums = double[kCrossEntropyThreads / 32];
  MONO_SHARED(Sums, sums);
  const T* const y = logits + int64_t{blockIdx.x} * K;
  const float* const t = targets + int64_t{blockIdx.x} * K;
  T* const dy = dlogits + int64_t{blockIdx.x} * K;
  double sum = 0;
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kCrossEntropyThreads) sum += t[k];
  const M mass = static_cast<M>(block_sum<kCrossEntropyThreads>(sum, static_cast<double*>(sums)));
  const M log_sum = log_sum_exp[blockIdx.x];
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kCrossEntropyThreads) {
    const M p = std::exp(static_cast<M>(y[k]) - log_sum);
    const M gradient = weight * (mass * p - static_cast<M>(t[k]));
    dy[k] = T(accumulate ? static_cast<M>(dy[k]) + gradient : gradient);
  }
}

// Whether a row's largest logit is where its target is largest.
template <class T>
__global__ void __launch_bounds__(kCrossEntropyThreads, 4)
    row_correct_kernel(int K, const T* __restrict__ logits, const float* __restrict__ targets,
                       int* correct) {
  using M = Master<T>;
  using Best = Largest<M>[kCrossEntropyThreads / 32];
  using BestTarget = Largest<float>[kCrossEntropyThreads / 32];
  MONO_SHARED(Best, largest);
  MONO_SHARED(BestTarget, largest_target);
  const int64_t row = int64_t{blockIdx.x} * K;
  const int guess = row_largest<T, M>(K, logits + row, largest).at;
  const int target = row_largest<float, float>(K, targets + row, largest_target).at;
  if (threadIdx.x == 0) correct[blockIdx.x] = guess == target;
}

// *total += weight * (sum of n values), by one block.
template <class V>
__global__ void __launch_bounds__(kCrossEntropyThreads, 4)
    add_sum_kernel(int n, const V* __restrict__ values, double weight, double* total) {
  using Sums = double[kCrossEntropyThreads / 32];
  MONO_SHARED(Sums, sums);
  double sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < n; i += kCrossEntropyThreads)
    sum += static_cast<double>(values[i]);
  sum = block_sum<kCrossEntropyThreads>(sum, static_cast<double*>(sums));
  if (threadIdx.x == 0) *total += weight * sum;
}

}  // namespace mono
