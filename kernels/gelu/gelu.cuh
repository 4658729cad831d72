// GELU on the GPU: a thread a pack of 16 bytes (or one element where arrays are not aligned), in a
// grid-stride loop. erfc of the library is exact to a few roundings, tails included.
#pragma once

#include <cmath>

#include "kernels/base/dtype.h"
#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kGeluThreads = 256;

__device__ __forceinline__ float normal_below(float x) {
  return 0.5f * erfcf(x * -0.707106781186547524f);
}
__device__ __forceinline__ double normal_below(double x) {
  return 0.5 * erfc(x * -0.707106781186547524401);
}
__device__ __forceinline__ float normal_density(float x) {
  return 0.398942280401432678f * expf(-0.5f * x * x);
}
__device__ __forceinline__ double normal_density(double x) {
  return 0.398942280401432677940 * exp(-0.5 * x * x);
}

template <class T, int V>
__global__ void __launch_bounds__(kGeluThreads)
    gelu_forward_kernel(int64_t packs, const T* x, T* y) {
  using M = Master<T>;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs;
       i += int64_t{gridDim.x} * blockDim.x) {
    Pack<T, V> pack = load_pack<T, V>(x + i * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const M value = static_cast<M>(pack.value[v]);
      pack.value[v] = T(value * normal_below(value));
    }
    store_pack<T, V>(y + i * V, pack);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kGeluThreads)
    gelu_backward_kernel(int64_t packs, const T* dy, const T* x, T* dx, bool accumulate) {
  using M = Master<T>;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < packs;
       i += int64_t{gridDim.x} * blockDim.x) {
    const Pack<T, V> g = load_pack<T, V>(dy + i * V), in = load_pack<T, V>(x + i * V);
    Pack<T, V> out{};
    if (accumulate) out = load_pack<T, V>(dx + i * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const M value = static_cast<M>(in.value[v]);
      const M slope = fma(value, normal_density(value), normal_below(value));
      const M d = static_cast<M>(g.value[v]);
      out.value[v] = T(accumulate ? fma(d, slope, static_cast<M>(out.value[v])) : d * slope);
    }
    store_pack<T, V>(dx + i * V, out);
  }
}

}  // namespace mono
