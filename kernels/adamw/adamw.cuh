// AdamW on the GPU: one launch over the arena, four parameters a thread. w, m, v and g are read and
// w, m, v written, 28 bytes a parameter; the runs come from a table, rates and the gradient's
// factor from memory.
#pragma once

#include "kernels/adamw/adamw.h"
#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kAdamWThreads = 256;

template <class M, int V>
__global__ void __launch_bounds__(kAdamWThreads)
    adamw_kernel(AdamWProblem problem, int runs, const AdamWRun* __restrict__ table,
                 const AdamWRates* __restrict__ rates, const double* __restrict__ factor,
                 M* __restrict__ weights, M* __restrict__ first_moments,
                 M* __restrict__ second_moments, const M* __restrict__ gradients) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * V;
  if (first >= problem.n) return;
  int run = 0;  // the one that holds `first`: the last that does not begin behind it
  for (int step = runs; step > 1;) {
    const int half = step / 2;
    if (table[run + half].begin <= first) run += half;
    step -= half;
  }
  const M new1 = static_cast<M>(1 - problem.beta1), new2 = static_cast<M>(1 - problem.beta2);
  const M beta2 = static_cast<M>(problem.beta2), eps = static_cast<M>(problem.eps);
  const M scale = static_cast<M>(*factor);
  Pack<M, V> w = load_pack<M, V>(weights + first), m = load_pack<M, V>(first_moments + first);
  Pack<M, V> v = load_pack<M, V>(second_moments + first);
  const Pack<M, V> g = load_pack<M, V>(gradients + first);
  int64_t end = table[run].end;
  AdamWRates rate = rates[table[run].group];
#pragma unroll
  for (int i = 0; i < V; ++i) {
    while (first + i >= end) {
      end = table[++run].end;
      rate = rates[table[run].group];
    }
    if (!rate.active) continue;
    const M shrink = static_cast<M>(rate.shrink), l2 = static_cast<M>(rate.l2);
    const M step = static_cast<M>(rate.step), root = static_cast<M>(rate.root);
    const M gradient = fma(l2, w.value[i], scale * g.value[i]);
    m.value[i] = fma(new1, gradient - m.value[i], m.value[i]);
    v.value[i] = fma(new2 * gradient, gradient, beta2 * v.value[i]);
    const M size = fma(root, sqrt(v.value[i]), eps);
    w.value[i] = fma(shrink, w.value[i], -(step * m.value[i] / size));
  }
  store_pack<M, V>(weights + first, w);
  store_pack<M, V>(first_moments + first, m);
  store_pack<M, V>(second_moments + first, v);
}

__host__ __device__ inline ClippedNorm clipped_norm(double max_norm, double scale, double squares) {
  const double norm = scale * sqrt(squares), ratio = max_norm / (norm + 1e-6);
  return {norm, scale * (ratio > 1 ? 1.0 : ratio)};  // in this form NaN goes through
}

// One thread.
__global__ void __launch_bounds__(32)
    clip_factor_kernel(double max_norm, const double* scale, const double* squares,
                       ClippedNorm* result) {
  if (threadIdx.x == 0) *result = clipped_norm(max_norm, *scale, *squares);
}

}  // namespace mono
