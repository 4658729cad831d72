// SGD on the GPU: one launch over the arena, four parameters a thread. w, m and g are read and w, m
// written, 20 bytes a parameter; the runs of weight decay come from a table, the step's rates from
// memory.
#pragma once

#include "kernels/sgd/sgd.h"
#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kSgdThreads = 256;

template <class M, int V>
__global__ void __launch_bounds__(kSgdThreads)
    sgd_kernel(SgdProblem problem, int runs, const SgdRun* __restrict__ table,
               const SgdRates* __restrict__ rates, M* __restrict__ weights, M* __restrict__ moments,
               const M* __restrict__ gradients) {
  const int64_t first = (int64_t{blockIdx.x} * blockDim.x + threadIdx.x) * V;
  if (first >= problem.n) return;
  int run = 0;  // the one that holds `first`: the last that does not begin behind it
  for (int step = runs; step > 1;) {
    const int half = step / 2;
    if (table[run + half].begin <= first) run += half;
    step -= half;
  }
  const M lr = static_cast<M>(rates->lr), grad_scale = static_cast<M>(rates->grad_scale);
  const M momentum = static_cast<M>(problem.momentum);
  const M direct = problem.nesterov ? M(1) : M(0);  // update = direct * gradient + follow * m
  const M follow = problem.nesterov ? momentum : M(1);
  Pack<M, V> w = load_pack<M, V>(weights + first), m = load_pack<M, V>(moments + first);
  const Pack<M, V> g = load_pack<M, V>(gradients + first);
#pragma unroll
  for (int v = 0; v < V; ++v) {
    while (first + v >= table[run].end) ++run;
    const M decay = static_cast<M>(table[run].weight_decay);
    const M gradient = fma(decay, w.value[v], grad_scale * g.value[v]);
    m.value[v] = fma(momentum, m.value[v], gradient);
    w.value[v] = fma(-lr, fma(follow, m.value[v], direct * gradient), w.value[v]);
  }
  store_pack<M, V>(weights + first, w);
  store_pack<M, V>(moments + first, m);
}

}  // namespace mono
