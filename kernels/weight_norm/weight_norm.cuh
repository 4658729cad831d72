// Weight normalisation on the GPU: a warp a row, sums in double.
#pragma once

#include <cmath>

#include "kernels/base/dtype.h"
#include "kernels/simt/block_sum.cuh"

namespace mono {

inline constexpr int kWeightNormThreads = 256, kWeightNormRows = kWeightNormThreads / 32;

template <class M>
__global__ void __launch_bounds__(kWeightNormThreads)
    weight_norm_forward_kernel(int rows, int C, const M* __restrict__ v, const M* __restrict__ g,
                               M* w, M* norms) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = int64_t{blockIdx.x} * kWeightNormRows + threadIdx.x / 32;
  if (row >= rows) return;
  v += row * C;
  double squares = 0;
  for (int c = lane; c < C; c += 32) squares = fma(double{v[c]}, double{v[c]}, squares);
  const M norm = static_cast<M>(sqrt(warp_sum(squares))), scale = g[row] / norm;
  for (int c = lane; c < C; c += 32) w[row * C + c] = scale * v[c];
  if (lane == 0) norms[row] = norm;
}

// dv and dg may be null: not wanted.
template <class M>
__global__ void __launch_bounds__(kWeightNormThreads)
    weight_norm_backward_kernel(int rows, int C, const M* __restrict__ v, const M* __restrict__ g,
                                const M* __restrict__ norms, const M* __restrict__ dw, M* dv,
                                bool accumulate_dv, M* dg, bool accumulate_dg) {
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = int64_t{blockIdx.x} * kWeightNormRows + threadIdx.x / 32;
  if (row >= rows) return;
  v += row * C;
  dw += row * C;
  double product = 0;
  for (int c = lane; c < C; c += 32) product = fma(double{dw[c]}, double{v[c]}, product);
  product = warp_sum(product);
  const M norm = norms[row], scale = g[row] / norm;
  const M along = static_cast<M>(product / (double{norm} * double{norm}));
  if (dv)
    for (int c = lane; c < C; c += 32) {
      const M value = scale * (dw[c] - v[c] * along);
      dv[row * C + c] = accumulate_dv ? dv[row * C + c] + value : value;
    }
  if (dg && lane == 0) {
    const M value = static_cast<M>(product / double{norm});
    dg[row] = accumulate_dg ? dg[row] + value : value;
  }
}

}  // namespace mono
