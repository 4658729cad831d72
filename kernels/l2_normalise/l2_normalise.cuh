// L2 normalisation on the GPU: a warp a row, sums in double.
#pragma once

#include <cmath>

#include "kernels/base/dtype.h"
#include "kernels/simt/block_sum.cuh"

namespace mono {

inline constexpr int kNormaliseThreads = 256, kNormaliseRows = kNormaliseThreads / 32;

template <class T>
__global__ void __launch_bounds__(kNormaliseThreads)
    l2_normalise_forward_kernel(int rows, int C, double eps, const T* x, T* y, Master<T>* norms) {
  using M = Master<T>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = int64_t{blockIdx.x} * kNormaliseRows + threadIdx.x / 32;
  if (row >= rows) return;
  x += row * C;
  y += row * C;
  double squares = 0;
  for (int c = lane; c < C; c += 32) {
    const double v = static_cast<M>(x[c]);
    squares = fma(v, v, squares);
  }
  const double length = sqrt(warp_sum(squares));
  const M norm = static_cast<M>(length < eps ? eps : length);
  for (int c = lane; c < C; c += 32) y[c] = T(static_cast<M>(x[c]) / norm);
  if (lane == 0) norms[row] = norm;
}

template <class T>
__global__ void __launch_bounds__(kNormaliseThreads)
    l2_normalise_backward_kernel(int rows, int C, double eps, const T* x, const Master<T>* norms,
                                 const T* dy, T* dx, bool accumulate) {
  using M = Master<T>;
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int64_t row = int64_t{blockIdx.x} * kNormaliseRows + threadIdx.x / 32;
  if (row >= rows) return;
  x += row * C;
  dy += row * C;
  dx += row * C;
  const M norm = norms[row];
  double product = 0;
  for (int c = lane; c < C; c += 32)
    product = fma(double{static_cast<M>(x[c])}, double{static_cast<M>(dy[c])}, product);
  product = warp_sum(product);
  const bool clamped = !(norm > static_cast<M>(eps));
  const M along = clamped ? M(0) : static_cast<M>(product / (double{norm} * double{norm}));
  for (int c = lane; c < C; c += 32) {
    const M g = (static_cast<M>(dy[c]) - static_cast<M>(x[c]) * along) / norm;
    dx[c] = T(accumulate ? static_cast<M>(dx[c]) + g : g);
  }
}

}  // namespace mono
