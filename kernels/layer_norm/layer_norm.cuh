// Layer normalisation on the GPU. The lesson: a row fits into the registers of a warp, so that the
// two passes of its statistics and the normalisation read memory once.
#pragma once

#include "kernels/layer_norm/layer_norm_loops.h"
#include "kernels/simt/pack.cuh"
#include "kernels/simt/simt.cuh"

namespace mono {

inline constexpr int kLayerNormThreads = 256;
inline constexpr int kLayerNormWarps = kLayerNormThreads / 32;
inline constexpr int kLayerNormMostD = 1024;  // of a warp's registers

template <class M>
__device__ __forceinline__ M layer_norm_inv_std(M variance, M eps) {
  if constexpr (sizeof(M) == 8)
    return 1 / sqrt(variance + eps);
  else
    return 1 / sqrtf(variance + eps);
}

// ---- naive: a thread a row ----

// Statistics, if mean is given to be written and `known` is false; y, if given.
template <class T>
__global__ void __launch_bounds__(kLayerNormThreads)
    layer_norm_forward_naive_kernel(int rows, int D, Master<T> eps, const T* x,
                                    const Master<T>* gamma, const Master<T>* beta, Master<T>* mean,
                                    Master<T>* inv_std, bool known, T* y) {
  using M = Master<T>;
  const int r = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (r >= rows) return;
  const T* const row = x + int64_t{r} * D;
  M m, scale;
  if (known) {
    m = mean[r];
    scale = inv_std[r];
  } else {
    double sum = 0, squares = 0;
    for (int c = 0; c < D; ++c) sum += static_cast<double>(static_cast<M>(row[c]));
    const double center = sum / D;
    for (int c = 0; c < D; ++c) {
      const double d = static_cast<double>(static_cast<M>(row[c])) - center;
      squares += d * d;
    }
    m = static_cast<M>(center);
    scale = layer_norm_inv_std(static_cast<M>(squares / D), eps);
    if (mean) mean[r] = m;
    if (inv_std) inv_std[r] = scale;
  }
  if (!y) return;
  for (int c = 0; c < D; ++c)
    y[int64_t{r} * D + c] = T(fma((static_cast<M>(row[c]) - m) * scale, gamma[c], beta[c]));
}

template <class T>
__global__ void __launch_bounds__(kLayerNormThreads)
    layer_norm_backward_naive_kernel(int rows, int D, const T* dy, const T* x,
                                     const Master<T>* gamma, const Master<T>* mean,
                                     const Master<T>* inv_std, T* dx, bool accumulate) {
  using M = Master<T>;
  const int r = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (r >= rows) return;
  const int64_t at = int64_t{r} * D;
  const M m = mean[r], scale = inv_std[r];
  double sum = 0, sum_xhat = 0;
  for (int c = 0; c < D; ++c) {
    const M g = static_cast<M>(dy[at + c]) * gamma[c];
    sum += static_cast<double>(g);
    sum_xhat += static_cast<double>(g * ((static_cast<M>(x[at + c]) - m) * scale));
  }
  const M a = static_cast<M>(-sum / D), b = static_cast<M>(-sum_xhat / D);
  for (int c = 0; c < D; ++c) {
    const M xhat = (static_cast<M>(x[at + c]) - m) * scale;
    const M g = fma(xhat, b, fma(static_cast<M>(dy[at + c]), gamma[c], a)) * scale;
    dx[at + c] = T(accumulate ? static_cast<M>(dx[at + c]) + g : g);
  }
}

// A thread a column of a unit of rows: partial (units, 2, D).
template <class T>
__global__ void __launch_bounds__(kLayerNormThreads)
    layer_norm_sums_naive_kernel(int rows, int D, const T* dy, const T* x, const Master<T>* mean,
                                 const Master<T>* inv_std, Master<T>* partial) {
  using M = Master<T>;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= D) return;
  const int first = static_cast<int>(blockIdx.y) * kLayerNormRows;
  const int end = min(first + kLayerNormRows, rows);
  M dgamma = 0, dbeta = 0;
  for (int r = first; r < end; ++r) {
    const M d = static_cast<M>(dy[int64_t{r} * D + c]);
    dgamma = fma(d, (static_cast<M>(x[int64_t{r} * D + c]) - mean[r]) * inv_std[r], dgamma);
    dbeta += d;
  }
  partial[int64_t{2 * blockIdx.y} * D + c] = dgamma;
  partial[int64_t{2 * blockIdx.y + 1} * D + c] = dbeta;
}

// Both parameter gradients from the units, in order, in double; a thread a column.
struct LayerNormModes {
  GradMode dgamma, dbeta;
};
template <class M>
__global__ void __launch_bounds__(kLayerNormThreads)
    layer_norm_merge_kernel(int D, int units, const M* partial, M* dgamma, M* dbeta,
                            LayerNormModes modes) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= D) return;
  const bool beta = blockIdx.y == 1;
  const GradMode mode = beta ? modes.dbeta : modes.dgamma;
  M* const out = (beta ? dbeta : dgamma) + c;
  if (mode == GradMode::ignore) return;
  double sum = 0;
  for (int unit = 0; unit < units; ++unit)
    sum += static_cast<double>(partial[(int64_t{2} * unit + (beta ? 1 : 0)) * D + c]);
  *out = static_cast<M>(mode == GradMode::accumulate ? static_cast<double>(*out) + sum : sum);
}

// ---- warp_per_row: pack p of lane l holds elements (p * 32 + l) * V on ----

template <class T, int V, int kPacks>
struct WarpRow {
  using M = Master<T>;
  M value[kPacks * V];

  // Elements past D are zero.
  template <class X>
  __device__ __forceinline__ void load(const X* row, int D, int lane) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int c = (p * 32 + lane) * V;
      if (c < D) {
        if constexpr (sizeof(X) * V <= 16) {
          const Pack<X, V> pack = load_pack<X, V>(row + c);
#pragma unroll
          for (int v = 0; v < V; ++v) value[p * V + v] = static_cast<M>(pack.value[v]);
        } else {
          constexpr int kHalf = V / 2;
          const Pack<X, kHalf> low = load_pack<X, kHalf>(row + c);
          const Pack<X, kHalf> high = load_pack<X, kHalf>(row + c + kHalf);
#pragma unroll
          for (int v = 0; v < kHalf; ++v) {
            value[p * V + v] = static_cast<M>(low.value[v]);
            value[p * V + kHalf + v] = static_cast<M>(high.value[v]);
          }
        }
      } else {
#pragma unroll
        for (int v = 0; v < V; ++v) value[p * V + v] = 0;
      }
    }
  }
  __device__ __forceinline__ void store(T* row, int D, int lane) const {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const int c = (p * 32 + lane) * V;
      if (c >= D) continue;
      Pack<T, V> pack;
#pragma unroll
      for (int v = 0; v < V; ++v) pack.value[v] = T(value[p * V + v]);
      store_pack<T, V>(row + c, pack);
    }
  }
  // f(i, valid) for every element that the lane holds.
  template <class F>
  __device__ __forceinline__ static void each(int D, int lane, F&& f) {
#pragma unroll
    for (int p = 0; p < kPacks; ++p) {
      const bool valid = (p * 32 + lane) * V < D;
#pragma unroll
      for (int v = 0; v < V; ++v) f(p * V + v, valid);
    }
  }
};

template <class M>
__device__ __forceinline__ M warp_sum(M value) {
#pragma unroll
  for (int lanes = 16; lanes > 0; lanes /= 2) value += __shfl_xor_sync(0xffffffffu, value, lanes);
  return value;
}

template <class T, int V, int kPacks>
__global__ void __launch_bounds__(kLayerNormThreads)
    layer_norm_forward_warp_kernel(int rows, int D, Master<T> eps, const T* x,
                                   const Master<T>* gamma, const Master<T>* beta, Master<T>* mean,
                                   Master<T>* inv_std, bool known, T* y) {
  using M = Master<T>;
  using Row = WarpRow<T, V, kPacks>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int r = static_cast<int>(blockIdx.x) * kLayerNormWarps + static_cast<int>(threadIdx.x) / 32;
  if (r >= rows) return;  // a whole warp
  Row row;
  row.load(x + int64_t{r} * D, D, lane);
  M m, scale;
  if (known) {
    m = mean[r];
    scale = inv_std[r];
  } else {
    M sum = 0, squares = 0;
    Row::each(D, lane, [&](int i, bool) { sum += row.value[i]; });
    m = warp_sum(sum) / static_cast<M>(D);
    Row::each(D, lane, [&](int i, bool valid) {
      const M d = valid ? row.value[i] - m : M(0);
      squares = fma(d, d, squares);
    });
    scale = layer_norm_inv_std(warp_sum(squares) / static_cast<M>(D), eps);
    if (lane == 0 && mean) mean[r] = m;
    if (lane == 0 && inv_std) inv_std[r] = scale;
  }
  if (!y) return;
  Row parameter;  // one after the other: registers
  parameter.load(gamma, D, lane);
  Row::each(D, lane,
            [&](int i, bool) { row.value[i] = (row.value[i] - m) * scale * parameter.value[i]; });
  parameter.load(beta, D, lane);
  Row::each(D, lane, [&](int i, bool) { row.value[i] += parameter.value[i]; });
  row.store(y + int64_t{r} * D, D, lane);
}

// A block a unit of rows, a warp every eighth of them; dx, and partial (units, 2, D).
template <class T, int V, int kPacks>
__global__ void __launch_bounds__(kLayerNormThreads)
    layer_norm_backward_warp_kernel(int rows, int D, const T* dy, const T* x,
                                    const Master<T>* gamma, const Master<T>* mean,
                                    const Master<T>* inv_std, T* dx, bool accumulate,
                                    Master<T>* partial) {
  using M = Master<T>;
  using Row = WarpRow<T, V, kPacks>;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int first = static_cast<int>(blockIdx.x) * kLayerNormRows;
  const int end = min(first + kLayerNormRows, rows);
  Row weight, dgamma, dbeta;
  weight.load(gamma, D, lane);
  Row::each(D, lane, [&](int i, bool) { dgamma.value[i] = dbeta.value[i] = 0; });
  for (int r = first + warp; r < end; r += kLayerNormWarps) {
    Row d, xhat;
    d.load(dy + int64_t{r} * D, D, lane);
    xhat.load(x + int64_t{r} * D, D, lane);
    const M m = mean[r], scale = inv_std[r];
    M sum = 0, sum_xhat = 0;
    Row::each(D, lane, [&](int i, bool) {  // past D, d is zero
      xhat.value[i] = (xhat.value[i] - m) * scale;
      dgamma.value[i] = fma(d.value[i], xhat.value[i], dgamma.value[i]);
      dbeta.value[i] += d.value[i];
      d.value[i] *= weight.value[i];
      sum += d.value[i];
      sum_xhat = fma(d.value[i], xhat.value[i], sum_xhat);
    });
    if (!dx) continue;
    const M a = -warp_sum(sum) / static_cast<M>(D), b = -warp_sum(sum_xhat) / static_cast<M>(D);
    Row::each(D, lane,
              [&](int i, bool) { d.value[i] = fma(xhat.value[i], b, d.value[i] + a) * scale; });
    if (accumulate) {
      Row before;
      before.load(dx + int64_t{r} * D, D, lane);
      Row::each(D, lane, [&](int i, bool) { d.value[i] += before.value[i]; });
    }
    d.store(dx + int64_t{r} * D, D, lane);
  }
  using Sums = float[kLayerNormWarps][kLayerNormMostD];
  MONO_SHARED(Sums, sums);
  for (int which = 0; which < 2; ++which) {
    const Row& mine = which == 0 ? dgamma : dbeta;
#pragma unroll
    for (int p = 0; p < kPacks; ++p)
#pragma unroll
      for (int v = 0; v < V; ++v)
        if (const int c = (p * 32 + lane) * V + v; c < D) sums[warp][c] = mine.value[p * V + v];
    __syncthreads();
    for (int c = static_cast<int>(threadIdx.x); c < D; c += kLayerNormThreads) {
      M total = 0;
      for (int w = 0; w < kLayerNormWarps; ++w) total += sums[w][c];
      partial[(int64_t{2} * blockIdx.x + which) * D + c] = total;
    }
    __syncthreads();
  }
}

}  // namespace mono
