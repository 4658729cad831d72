// The Barlow loss on the GPU. Sums over the rows of a view are made by blocks of 32 columns x 8 row
// lanes: a lane adds every eighth row in double, the eight are added in order. A tile of a view, 92
// rows of 32 columns, is 12 KB: what a kernel reads a second time is in the first-level cache.
#pragma once

#include <cmath>

#include "kernels/barlow/barlow_steps.h"
#include "kernels/simt/block_sum.cuh"

namespace mono {

inline constexpr int kBarlowColumns = 32, kBarlowLanes = 8;
inline constexpr int kBarlowThreads = kBarlowColumns * kBarlowLanes;

// The sum of a column's eight lanes, given to each of them; `shared` is free again on return.
using BarlowSums = double[kBarlowLanes][kBarlowColumns];
__device__ __forceinline__ double column_sum(double value, BarlowSums& shared) {
  shared[threadIdx.y][threadIdx.x] = value;
  __syncthreads();
  double sum = 0;
#pragma unroll
  for (int lane = 0; lane < kBarlowLanes; ++lane) sum += shared[lane][threadIdx.x];
  __syncthreads();
  return sum;
}

// Grid: tiles of columns, groups. share: 1 / B. A thread beyond the last column reads column K - 1
// and writes nothing.
template <class T>
__global__ void __launch_bounds__(kBarlowThreads, 4)
    barlow_standardise_kernel(int B, int K, double share, double eps, const T* __restrict__ x,
                              const double* __restrict__ temperature, Master<T>* z, Master<T>* mean,
                              Master<T>* inverse_deviation) {
  using M = Master<T>;
  MONO_SHARED(BarlowSums, shared);
  const int column = static_cast<int>(blockIdx.x * kBarlowColumns + threadIdx.x);
  const int k = min(column, K - 1);
  const M inverse = static_cast<M>(temperature ? 1 / *temperature : 1.0);
  const int64_t from = int64_t{blockIdx.y} * B * K + k;
  double sum = 0, squares = 0;
  for (int64_t b = threadIdx.y; b < B; b += kBarlowLanes)
    sum += static_cast<double>(static_cast<M>(x[from + b * K]) * inverse);
  const double average = column_sum(sum, shared) * share;
  for (int64_t b = threadIdx.y; b < B; b += kBarlowLanes) {
    const double d = static_cast<double>(static_cast<M>(x[from + b * K]) * inverse) - average;
    squares = fma(d, d, squares);
  }
  const M scale = static_cast<M>(1 / sqrt(column_sum(squares, shared) * share + eps));
  const M centre = static_cast<M>(average);
  if (column >= K) return;
  for (int64_t b = threadIdx.y; b < B; b += kBarlowLanes)
    z[from + b * K] = (static_cast<M>(x[from + b * K]) * inverse - centre) * scale;
  if (threadIdx.y != 0 || !mean) return;
  mean[int64_t{blockIdx.y} * K + k] = centre;
  inverse_deviation[int64_t{blockIdx.y} * K + k] = scale;
}

// Grid: tiles of N * N, views.
template <class M>
__global__ void __launch_bounds__(kBarlowThreads)
    barlow_add_grams_kernel(int64_t square, ViewPairs pairs, const M* __restrict__ grams, M* sums) {
  const int64_t i = int64_t{blockIdx.x} * kBarlowThreads + threadIdx.x;
  if (i >= square) return;
  const int view = static_cast<int>(blockIdx.y);
  M sum = 0;
  if (pairs.has(0, view)) sum = grams[i];
  if (pairs.has(1, view)) sum += grams[square + i];
  sums[blockIdx.y * square + i] = sum;
}

// Grid: tiles of columns, views.
template <class M>
__global__ void __launch_bounds__(kBarlowThreads)
    barlow_gram_columns_kernel(int K, ViewPairs pairs, BarlowWeights weights,
                               const M* __restrict__ teacher, const M* __restrict__ student,
                               M* gradient, double* parts) {
  MONO_SHARED(BarlowSums, shared);
  const int column = static_cast<int>(blockIdx.x * kBarlowColumns + threadIdx.x);
  const int k = min(column, K - 1), view = static_cast<int>(blockIdx.y);
  const int64_t N = weights.N, matrix = N * K;
  const bool first = pairs.has(0, view), second = pairs.has(1, view);
  const M* const z = student + view * matrix + k;
  const M* const t0 = teacher + k;
  const M* const t1 = teacher + matrix + k;  // read where there is a second teacher
  M* const g = gradient + view * matrix + k;
  double h = 0, r0 = 0, r1 = 0;
  for (int64_t n = threadIdx.y; n < N; n += kBarlowLanes) {
    const double value = static_cast<double>(z[n * K]);
    h = fma(static_cast<double>(g[n * K]), value, h);
    if (first) r0 = fma(static_cast<double>(t0[n * K]), value, r0);
    if (second) r1 = fma(static_cast<double>(t1[n * K]), value, r1);
  }
  const double rows = static_cast<double>(N), of_h = weights.off_diagonal / (rows * rows);
  h = column_sum(h, shared) * of_h;
  r0 = column_sum(r0, shared) / rows;
  r1 = column_sum(r1, shared) / rows;
  if (column >= K) return;
  const M scale = static_cast<M>(2 * of_h);
  const M slope0 = first ? static_cast<M>(weights.correction_slope(r0) / rows) : M(0);
  const M slope1 = second ? static_cast<M>(weights.correction_slope(r1) / rows) : M(0);
  for (int64_t n = threadIdx.y; n < N; n += kBarlowLanes) {
    M value = scale * g[n * K];
    if (first) value += slope0 * t0[n * K];
    if (second) value += slope1 * t1[n * K];
    g[n * K] = value;
  }
  if (threadIdx.y == 0)
    parts[int64_t{view} * K + k] =
        h + (first ? weights.correction(r0) : 0.0) + (second ? weights.correction(r1) : 0.0);
}

// A block a row of R.
template <class M>
__global__ void __launch_bounds__(kBarlowThreads)
    barlow_direct_rows_kernel(int K, BarlowWeights weights, M* r, double* parts) {
  using Sums = double[kBarlowThreads / 32];
  MONO_SHARED(Sums, shared);
  const int j = static_cast<int>(blockIdx.x);
  M* const row = r + int64_t{j} * K;
  const double rows = weights.N;
  double part = 0;
  for (int k = static_cast<int>(threadIdx.x); k < K; k += kBarlowThreads) {
    const double correlation = static_cast<double>(row[k]) / rows;
    part += j == k ? weights.diagonal * (1 - correlation) * (1 - correlation)
                   : weights.off_diagonal * correlation * correlation;
    row[k] = static_cast<M>(
        (j == k ? weights.slope(correlation) : 2 * weights.off_diagonal * correlation) / rows);
  }
  part = block_sum<kBarlowThreads>(part, static_cast<double*>(shared));
  if (threadIdx.x == 0) parts[j] = part;
}

// A block a view.
template <class M>
__global__ void __launch_bounds__(kBarlowThreads)
    barlow_add_parts_kernel(int count, const double* __restrict__ parts, double scale, M* losses) {
  using Sums = double[kBarlowThreads / 32];
  MONO_SHARED(Sums, shared);
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kBarlowThreads)
    sum += parts[int64_t{blockIdx.x} * count + i];
  sum = block_sum<kBarlowThreads>(sum, static_cast<double*>(shared));
  if (threadIdx.x == 0) losses[blockIdx.x] = static_cast<M>(scale * sum);
}

// Grid: tiles of columns, groups.
template <class T>
__global__ void __launch_bounds__(kBarlowThreads)
    barlow_backward_kernel(int B, int K, const T* __restrict__ student,
                           const double* __restrict__ temperature,
                           const Master<T>* __restrict__ gradient,
                           const Master<T>* __restrict__ mean,
                           const Master<T>* __restrict__ inverse_deviation, double weight,
                           T* dstudent, bool accumulate) {
  using M = Master<T>;
  MONO_SHARED(BarlowSums, shared);
  const int column = static_cast<int>(blockIdx.x * kBarlowColumns + threadIdx.x);
  const int k = min(column, K - 1);
  const double tau = temperature ? *temperature : 1.0;
  const M inverse = static_cast<M>(1 / tau);
  const int64_t from = int64_t{blockIdx.y} * B * K + k;
  const M centre = mean[int64_t{blockIdx.y} * K + k];
  const M scale = inverse_deviation[int64_t{blockIdx.y} * K + k];
  double sum = 0, product = 0;
  for (int64_t b = threadIdx.y; b < B; b += kBarlowLanes) {
    const int64_t at = from + b * K;
    const double g = static_cast<double>(gradient[at]);
    const M z = (static_cast<M>(student[at]) * inverse - centre) * scale;
    sum += g;
    product = fma(g, static_cast<double>(z), product);
  }
  const M average = static_cast<M>(column_sum(sum, shared) / B);
  const M along = static_cast<M>(column_sum(product, shared) / B);
  if (column >= K) return;
  const M factor = static_cast<M>(weight / tau * static_cast<double>(scale));
  for (int64_t b = threadIdx.y; b < B; b += kBarlowLanes) {
    const int64_t at = from + b * K;
    const M z = (static_cast<M>(student[at]) * inverse - centre) * scale;
    const M g = factor * (gradient[at] - average - z * along);
    dstudent[at] = T(accumulate ? static_cast<M>(dstudent[at]) + g : g);
  }
}

}  // namespace mono
