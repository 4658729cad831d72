// BYOL's loss on the GPU: a warp a row, sums in double.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/byol/byol_row.h"
#include "kernels/simt/block_sum.cuh"

namespace mono {

inline constexpr int kByolThreads = 128, kByolRows = kByolThreads / 32;

// By all lanes of a warp.
template <class T>
__device__ __forceinline__ ByolRow byol_row(int C, double eps, const T* p, const T* z) {
  double pp = 0, zz = 0, pz = 0;
  for (int c = static_cast<int>(threadIdx.x % 32); c < C; c += 32) {
    const double a = static_cast<Master<T>>(p[c]), b = static_cast<Master<T>>(z[c]);
    pp = fma(a, a, pp);
    zz = fma(b, b, zz);
    pz = fma(a, b, pz);
  }
  return {warp_sum(pp), warp_sum(zz), warp_sum(pz), eps};
}

template <class T>
__global__ void __launch_bounds__(kByolThreads)
    byol_forward_kernel(int B, int C, const T* __restrict__ prediction,
                        const T* __restrict__ target, double scale, double eps, Master<T>* losses) {
  const int64_t r = int64_t{blockIdx.x} * kByolRows + threadIdx.x / 32;
  if (r >= 2 * int64_t{B}) return;
  const int64_t other = r < B ? r + B : r - B;
  const ByolRow row = byol_row<T>(C, eps, prediction + r * C, target + other * C);
  if (threadIdx.x % 32 == 0) losses[r] = static_cast<Master<T>>(scale * (2 - 2 * row.cosine));
}

template <class T>
__global__ void __launch_bounds__(kByolThreads)
    byol_backward_kernel(int B, int C, const T* __restrict__ prediction,
                         const T* __restrict__ target, double factor, double eps, T* dprediction,
                         bool accumulate) {
  using M = Master<T>;
  const int64_t r = int64_t{blockIdx.x} * kByolRows + threadIdx.x / 32;
  if (r >= 2 * int64_t{B}) return;
  const int64_t other = r < B ? r + B : r - B;
  const T *const p = prediction + r * C, *const z = target + other * C;
  T* const to = dprediction + r * C;
  const ByolRow row = byol_row<T>(C, eps, p, z);
  const M along_z = static_cast<M>(factor * row.along_z());
  const M along_p = static_cast<M>(factor * row.along_p());
  for (int c = static_cast<int>(threadIdx.x % 32); c < C; c += 32) {
    const M g = along_z * static_cast<M>(z[c]) + along_p * static_cast<M>(p[c]);
    to[c] = T(accumulate ? static_cast<M>(to[c]) + g : g);
  }
}

}  // namespace mono
