// The sum over a warp and over a block, in an order that depends on the shape of the block only.
#pragma once

#include "kernels/simt/simt.cuh"

namespace mono {

// The sum over the 32 lanes of a warp, given to each of them.
template <class V>
__device__ __forceinline__ V warp_sum(V value) {
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}

// The sum over all threads of a one-dimensional block of kThreads (whole warps), given to each of
// them. `shared` has kThreads / 32 elements and is free again when the call returns.
template <int kThreads, class V>
__device__ __forceinline__ V block_sum(V value, V* shared) {
  static_assert(kThreads % 32 == 0);
  value = warp_sum(value);
  if (threadIdx.x % 32 == 0) shared[threadIdx.x / 32] = value;
  __syncthreads();
  V sum = shared[0];
  for (int warp = 1; warp < kThreads / 32; ++warp) sum += shared[warp];
  __syncthreads();
  return sum;
}

}  // namespace mono
