// The moving average on the GPU: 16 bytes a thread and operand (one element where arrays are not
// aligned). teacher is read and written, student read, 12 bytes a parameter.
#pragma once

#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kEmaThreads = 256;

template <class M, int V>
__global__ void __launch_bounds__(kEmaThreads)
    ema_kernel(int64_t packs, const double* __restrict__ beta, M* __restrict__ teacher,
               const M* __restrict__ student) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= packs) return;
  const M keep = static_cast<M>(*beta), take = static_cast<M>(1 - *beta);
  Pack<M, V> t = load_pack<M, V>(teacher + i * V);
  const Pack<M, V> s = load_pack<M, V>(student + i * V);
#pragma unroll
  for (int v = 0; v < V; ++v) t.value[v] = fma(take, s.value[v], keep * t.value[v]);
  store_pack<M, V>(teacher + i * V, t);
}

}  // namespace mono
