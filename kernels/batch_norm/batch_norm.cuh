// Batch normalisation on the GPU.
//
// A unit is a run of `unit` consecutive pixels of one segment; a tile is blockDim.x packs of V
// channels. A block takes a unit and a tile: threads x are neighbouring packs, so that a row of
// threads reads one piece of memory, and rows y take every blockDim.y-th pixel. Sums over a unit go
// to the workspace, and a second kernel adds them up, in double: no atomics, and the same bits
// whatever runs beside.
//
// Traffic and bounds: README.md.
#pragma once

#include "kernels/batch_norm/batch_norm_fold.h"
#include "kernels/batch_norm/batch_norm_loops.h"
#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kBatchNormThreads = 256;              // of a block over units, at most
inline constexpr int kMergeColumns = 32, kMergeRows = 16;  // block of the merging kernels

// What the kernels know of a problem.
struct BatchNormPixels {
  int64_t image;  // pixels an image
  int64_t unit;   // pixels a unit
  int C;
  int64_t ldx, ldy;
  const int* offsets;  // of the segments, in the GPU's memory
};

// Pixels [begin, end) of the batch, and where the unit's sums go; empty beyond the segment's end.
struct BatchNormUnit {
  int64_t begin, end, slot;
};
// Slots leave no two units in one place without a search: a segment of p pixels has at most
// p / unit + 1 units.
__device__ __forceinline__ int64_t first_slot(const BatchNormPixels& p, int segment) {
  return p.offsets[segment] * p.image / p.unit + segment;
}
__device__ __forceinline__ BatchNormUnit batch_norm_unit(const BatchNormPixels& p, int64_t unit,
                                                         int segment) {
  const int64_t begin = p.offsets[segment] * p.image + unit * p.unit;
  const int64_t end = p.offsets[segment + 1] * p.image;
  return {begin, min(begin + p.unit, end), first_slot(p, segment) + unit};
}
__device__ __forceinline__ int64_t units_of_segment(const BatchNormPixels& p, int segment) {
  return ((p.offsets[segment + 1] - p.offsets[segment]) * p.image + p.unit - 1) / p.unit;
}

// First channel of the thread; C or more where it has none.
template <int V>
__device__ __forceinline__ int batch_norm_channel() {
  return static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * V;
}

// Sums of kSums x V values over the rows of the block, in a tree whose shape depends on blockDim.y
// only; row 0 holds the result. `shared` has kSums * V * kBatchNormThreads elements.
template <int kSums, int V, class M>
__device__ __forceinline__ void add_block_rows(M (&sum)[kSums][V], M* shared) {
  const int thread = static_cast<int>(threadIdx.y * blockDim.x + threadIdx.x);
  const int row = static_cast<int>(threadIdx.y), width = static_cast<int>(blockDim.x);
  for (int k = 0; k < kSums; ++k)
    for (int v = 0; v < V; ++v) shared[(k * V + v) * kBatchNormThreads + thread] = sum[k][v];
  for (int rows = static_cast<int>(blockDim.y); rows > 1;) {
    const int half = (rows + 1) / 2;
    __syncthreads();
    if (row + half < rows)
      for (int i = 0; i < kSums * V; ++i)
        shared[i * kBatchNormThreads + thread] +=
            shared[i * kBatchNormThreads + thread + half * width];
    rows = half;
  }
  if (row == 0)
    for (int k = 0; k < kSums; ++k)
      for (int v = 0; v < V; ++v) sum[k][v] = shared[(k * V + v) * kBatchNormThreads + thread];
}

// --- Moments -------------------------------------------------------------------------------------

// Into partial (slots, 3, C): the unit's origin, sum (x - origin), sum (x - origin)^2. The origin
// is the mean of the unit's first pixels: near the mean, so that nothing cancels.
template <class T, int V>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_moments_units_kernel(BatchNormPixels p, const T* __restrict__ x,
                                    Master<T>* __restrict__ partial) {
  using M = Master<T>;
  using Shared = M[2 * V * kBatchNormThreads];
  MONO_SHARED(Shared, shared);
  const BatchNormUnit unit = batch_norm_unit(p, blockIdx.x, static_cast<int>(blockIdx.z));
  if (unit.begin >= unit.end) return;  // the whole block
  const int channel = batch_norm_channel<V>(), row = static_cast<int>(threadIdx.y);
  const int thread = row * static_cast<int>(blockDim.x) + static_cast<int>(threadIdx.x);
  const bool mine = channel < p.C;
  const int rows =
      static_cast<int>(min(unit.end - unit.begin, static_cast<int64_t>(kOriginPixels)));

  M origin[V] = {}, sum[2][V] = {};
  if (mine && row < rows) {
    const Pack<T, V> first = load_pack<T, V>(x + (unit.begin + row) * p.ldx + channel);
    for (int v = 0; v < V; ++v)
      shared[v * kBatchNormThreads + thread] = static_cast<M>(first.value[v]);
  }
  __syncthreads();
  if (mine) {
    const M weight = M(1) / static_cast<M>(rows);
    for (int r = 0; r < rows; ++r)
      for (int v = 0; v < V; ++v)
        origin[v] = fma(weight,
                        shared[v * kBatchNormThreads + r * static_cast<int>(blockDim.x) +
                               static_cast<int>(threadIdx.x)],
                        origin[v]);
#pragma unroll 4
    for (int64_t pixel = unit.begin + row; pixel < unit.end; pixel += blockDim.y) {
      const Pack<T, V> in = load_pack<T, V>(x + pixel * p.ldx + channel);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const M d = static_cast<M>(in.value[v]) - origin[v];
        sum[0][v] += d;
        sum[1][v] = fma(d, d, sum[1][v]);
      }
    }
  }
  __syncthreads();  // the origins are read
  add_block_rows<2, V>(sum, shared);
  if (!mine || row != 0) return;
  M* const out = partial + unit.slot * 3 * p.C + channel;
  for (int v = 0; v < V; ++v) {
    out[v] = origin[v];
    out[p.C + v] = sum[0][v];
    out[2 * p.C + v] = sum[1][v];
  }
}

// Rows of threads take every kMergeRows-th unit of the segment; Chan's rule for many sets at once:
//   M2 = sum (M2_i + n_i d_i^2) - (sum n_i d_i)^2 / n     d_i the unit's mean less the first unit's
// in double, where d_i is no larger than the spread.
template <class M>
__global__ void __launch_bounds__(kMergeColumns* kMergeRows)
    batch_norm_moments_merge_kernel(BatchNormPixels p, const M* __restrict__ partial, M* mean,
                                    M* variance, int64_t ld) {
  using Shared = double[2][kMergeRows][kMergeColumns];
  MONO_SHARED(Shared, shared);
  const int segment = static_cast<int>(blockIdx.y);
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int c = static_cast<int>(blockIdx.x) * kMergeColumns + column;
  const int64_t pixels = (p.offsets[segment + 1] - p.offsets[segment]) * p.image;
  const int64_t units = units_of_segment(p, segment);
  const M* const from = partial + first_slot(p, segment) * 3 * p.C + c;
  double a = 0, b = 0, pivot = 0;
  if (c < p.C) {
    pivot = from[0] + from[p.C] / static_cast<double>(min(p.unit, pixels));
    for (int64_t unit = row; unit < units; unit += kMergeRows) {
      const M* const at = from + unit * 3 * p.C;
      const double n = static_cast<double>(min(p.unit, pixels - unit * p.unit));
      const double s = at[p.C], mu = s / n, d = at[0] + mu - pivot;
      a += n * d;
      b += at[2 * p.C] - s * mu + n * d * d;
    }
  }
  shared[0][row][column] = a;
  shared[1][row][column] = b;
  __syncthreads();
  if (row != 0 || c >= p.C) return;
  for (int r = 1; r < kMergeRows; ++r) {
    a += shared[0][r][column];
    b += shared[1][r][column];
  }
  const double n = static_cast<double>(pixels), v = (b - a * a / n) / n;
  mean[segment * ld + c] = static_cast<M>(pivot + a / n);
  variance[segment * ld + c] = static_cast<M>(v < 0 ? 0 : v);  // NaN stays
}

// The definition, one thread a (segment, channel), sums in double.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_moments_naive_kernel(BatchNormPixels p, int segments, const T* x, Master<T>* mean,
                                    Master<T>* variance, int64_t ld) {
  using M = Master<T>;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= int64_t{segments} * p.C) return;
  const int segment = static_cast<int>(i / p.C), c = static_cast<int>(i % p.C);
  const int64_t begin = p.offsets[segment] * p.image, end = p.offsets[segment + 1] * p.image;
  const double n = static_cast<double>(end - begin);
  double mu = 0, m2 = 0;
  for (int64_t pixel = begin; pixel < end; ++pixel) mu += static_cast<M>(x[pixel * p.ldx + c]);
  mu /= n;
  for (int64_t pixel = begin; pixel < end; ++pixel) {
    const double d = static_cast<M>(x[pixel * p.ldx + c]) - mu;
    m2 += d * d;
  }
  mean[segment * ld + c] = static_cast<M>(mu);
  variance[segment * ld + c] = static_cast<M>(m2 / n);
}

// --- Fold, apply ---------------------------------------------------------------------------------

// As batch_norm_fold on the CPU, to the bit.
template <class M>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_fold_kernel(int segments, int C, double eps, const M* gamma, const M* beta,
                           const M* mean, const M* variance, int64_t ld, M* scale, M* shift) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= int64_t{segments} * C) return;
  const int64_t segment = i / C, c = i - segment * C;
  const ScaleShift<M> folded = batch_norm_fold_one(gamma[c], beta[c], mean[segment * ld + c],
                                                   variance[segment * ld + c], eps);
  scale[i] = folded.scale;
  shift[i] = folded.shift;
}

// kRows pixels, blockDim.y apart: all loads first, so that they are under way together (y may alias
// x, and so the compiler may not move them).
template <int kRows, class T, int V>
__device__ __forceinline__ void apply_rows(const BatchNormPixels& p, int64_t pixel, int channel,
                                           const T* x, const T* residual, T* y,
                                           const Master<T> (&scale)[V], const Master<T> (&shift)[V],
                                           Master<T> floor) {
  using M = Master<T>;
  Pack<T, V> in[kRows], add[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = pixel + int64_t{r} * blockDim.y;
    in[r] = load_pack<T, V>(x + at * p.ldx + channel);
    if (residual) add[r] = load_pack<T, V>(residual + at * p.ldy + channel);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    Pack<T, V> out;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      M z = fma(scale[v], static_cast<M>(in[r].value[v]), shift[v]);
      if (residual) z += static_cast<M>(add[r].value[v]);
      out.value[v] = T(z < floor ? floor : z);  // in this form NaN goes through
    }
    store_pack<T, V>(y + (pixel + int64_t{r} * blockDim.y) * p.ldy + channel, out);
  }
}

template <class T, int V>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_apply_kernel(BatchNormPixels p, const T* x, const Master<T>* __restrict__ scales,
                            const Master<T>* __restrict__ shifts, const T* residual, T* y,
                            Master<T> floor) {
  using M = Master<T>;
  const int segment = static_cast<int>(blockIdx.z);
  const BatchNormUnit unit = batch_norm_unit(p, blockIdx.x, segment);
  const int channel = batch_norm_channel<V>();
  if (channel >= p.C) return;
  M scale[V], shift[V];
  for (int v = 0; v < V; ++v) {
    scale[v] = scales[int64_t{segment} * p.C + channel + v];
    shift[v] = shifts[int64_t{segment} * p.C + channel + v];
  }
  constexpr int kRows = 4;
  int64_t pixel = unit.begin + threadIdx.y;
  for (; pixel + (kRows - 1) * int64_t{blockDim.y} < unit.end; pixel += kRows * int64_t{blockDim.y})
    apply_rows<kRows>(p, pixel, channel, x, residual, y, scale, shift, floor);
  for (; pixel < unit.end; pixel += blockDim.y)
    apply_rows<1>(p, pixel, channel, x, residual, y, scale, shift, floor);
}

// One thread an element; blocks y are segments.
template <class T>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_apply_naive_kernel(BatchNormPixels p, const T* x, const Master<T>* scale,
                                  const Master<T>* shift, const T* residual, T* y,
                                  Master<T> floor) {
  using M = Master<T>;
  const int segment = static_cast<int>(blockIdx.y);
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  const int64_t pixel = p.offsets[segment] * p.image + i / p.C;
  if (pixel >= p.offsets[segment + 1] * p.image) return;
  const int c = static_cast<int>(i % p.C);
  const int64_t table = int64_t{segment} * p.C + c;
  M z = fma(scale[table], static_cast<M>(x[pixel * p.ldx + c]), shift[table]);
  if (residual) z += static_cast<M>(residual[pixel * p.ldy + c]);
  y[pixel * p.ldy + c] = T(z < floor ? floor : z);
}

// --- Backward ------------------------------------------------------------------------------------

template <class T>
struct BatchNormGradients {  // operands of backward's kernels; tables (segments, C)
  const T *dy, *x, *y;
  const Master<T>*scale, *shift, *mean, *variance;
  int64_t ld;       // row pitch of mean and variance
  Master<T>*b, *c;  // dx = scale * dz + b * (x - mean) + c; null: dx = scale * dz
  T *dx, *dresidual;
  GradMode dx_mode, dresidual_mode;
};

// dy where ReLU let the output through, as forward decided it.
template <ReluMask kMask, class M>
__device__ __forceinline__ M batch_norm_dz(M dy, M x, M y, M scale, M shift) {
  if constexpr (kMask == ReluMask::recompute) return fma(scale, x, shift) > 0 ? dy : M(0);
  if constexpr (kMask == ReluMask::from_y) return y > 0 ? dy : M(0);
  return dy;
}

// Into partial (slots, 2, C): sum dz, sum dz * (x - mean).
template <class T, int V, ReluMask kMask>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_sums_units_kernel(BatchNormPixels p, BatchNormGradients<T> g,
                                 Master<T>* __restrict__ partial) {
  using M = Master<T>;
  using Shared = M[2 * V * kBatchNormThreads];
  MONO_SHARED(Shared, shared);
  const int segment = static_cast<int>(blockIdx.z);
  const BatchNormUnit unit = batch_norm_unit(p, blockIdx.x, segment);
  if (unit.begin >= unit.end) return;  // the whole block
  const int channel = batch_norm_channel<V>();
  const bool mine = channel < p.C;
  M sum[2][V] = {};
  if (mine) {
    M mean[V], scale[V] = {}, shift[V] = {};
    for (int v = 0; v < V; ++v) {
      mean[v] = g.mean[segment * g.ld + channel + v];
      if constexpr (kMask == ReluMask::recompute) {
        scale[v] = g.scale[int64_t{segment} * p.C + channel + v];
        shift[v] = g.shift[int64_t{segment} * p.C + channel + v];
      }
    }
#pragma unroll 4
    for (int64_t pixel = unit.begin + threadIdx.y; pixel < unit.end; pixel += blockDim.y) {
      const Pack<T, V> dy = load_pack<T, V>(g.dy + pixel * p.ldy + channel);
      const Pack<T, V> x = load_pack<T, V>(g.x + pixel * p.ldx + channel);
      Pack<T, V> y = dy;
      if constexpr (kMask == ReluMask::from_y) y = load_pack<T, V>(g.y + pixel * p.ldy + channel);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const M in = static_cast<M>(x.value[v]);
        const M dz = batch_norm_dz<kMask>(static_cast<M>(dy.value[v]), in,
                                          static_cast<M>(y.value[v]), scale[v], shift[v]);
        sum[0][v] += dz;
        sum[1][v] = fma(dz, in - mean[v], sum[1][v]);
      }
    }
  }
  add_block_rows<2, V>(sum, shared);
  if (!mine || threadIdx.y != 0) return;
  M* const out = partial + unit.slot * 2 * p.C + channel;
  for (int v = 0; v < V; ++v) {
    out[v] = sum[0][v];
    out[p.C + v] = sum[1][v];
  }
}

// What is made of the sums of a segment's channel, and what that adds to the parameters' gradients.
template <class T>
__device__ __forceinline__ void finish_channel(const BatchNormPixels& p,
                                               const BatchNormGradients<T>& g, double eps,
                                               int segment, int c, double sum_dz, double sum_dzx,
                                               double& dgamma, double& dbeta) {
  using M = Master<T>;
  const int64_t at = int64_t{segment} * p.C + c;
  const double pixels =
      static_cast<double>((p.offsets[segment + 1] - p.offsets[segment]) * p.image);
  const double inverse_sigma = 1.0 / sqrt(double{g.variance[segment * g.ld + c]} + eps);
  const double dz_xhat = sum_dzx * inverse_sigma;
  dbeta += sum_dz;
  dgamma += dz_xhat;
  if (!g.b) return;
  g.b[at] = static_cast<M>(-g.scale[at] * dz_xhat * inverse_sigma / pixels);
  g.c[at] = static_cast<M>(-g.scale[at] * sum_dz / pixels);
}

template <class M>
__device__ __forceinline__ void store_parameter(M* gradient, int c, double sum, bool accumulate) {
  if (gradient) gradient[c] = static_cast<M>(sum + (accumulate ? gradient[c] : M(0)));
}

// Segments in order, because dgamma and dbeta are sums over them.
template <class T>
__global__ void __launch_bounds__(kMergeColumns* kMergeRows)
    batch_norm_sums_merge_kernel(BatchNormPixels p, BatchNormGradients<T> g, int segments,
                                 double eps, const Master<T>* __restrict__ partial,
                                 Master<T>* dgamma, Master<T>* dbeta, bool accumulate) {
  using Shared = double[2][kMergeRows][kMergeColumns];
  MONO_SHARED(Shared, shared);
  const int column = static_cast<int>(threadIdx.x), row = static_cast<int>(threadIdx.y);
  const int c = static_cast<int>(blockIdx.x) * kMergeColumns + column;
  double gamma_sum = 0, beta_sum = 0;
  for (int segment = 0; segment < segments; ++segment) {
    double a = 0, b = 0;
    if (c < p.C) {
      const int64_t units = units_of_segment(p, segment);
      const Master<T>* const from = partial + first_slot(p, segment) * 2 * p.C + c;
#pragma unroll 4
      for (int64_t unit = row; unit < units; unit += kMergeRows) {
        a += from[unit * 2 * p.C];
        b += from[unit * 2 * p.C + p.C];
      }
    }
    shared[0][row][column] = a;
    shared[1][row][column] = b;
    __syncthreads();
    if (row == 0 && c < p.C) {
      for (int r = 1; r < kMergeRows; ++r) {
        a += shared[0][r][column];
        b += shared[1][r][column];
      }
      finish_channel(p, g, eps, segment, c, a, b, gamma_sum, beta_sum);
    }
    __syncthreads();  // shared is free again
  }
  if (row != 0 || c >= p.C) return;
  store_parameter(dgamma, c, gamma_sum, accumulate);
  store_parameter(dbeta, c, beta_sum, accumulate);
}

// kRows pixels, all loads first; dx may alias dy, and dresidual may be dx's tensor: it is written
// before, pixel by pixel.
template <int kRows, ReluMask kMask, class T, int V>
__device__ __forceinline__ void dx_rows(const BatchNormPixels& p, const BatchNormGradients<T>& g,
                                        int64_t pixel, int channel, const Master<T> (&scale)[V],
                                        const Master<T> (&shift)[V], const Master<T> (&mean)[V],
                                        const Master<T> (&b)[V], const Master<T> (&c)[V]) {
  using M = Master<T>;
  Pack<T, V> dys[kRows], xs[kRows], ys[kRows];
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = pixel + int64_t{r} * blockDim.y;
    dys[r] = load_pack<T, V>(g.dy + at * p.ldy + channel);
    xs[r] = load_pack<T, V>(g.x + at * p.ldx + channel);
    if constexpr (kMask == ReluMask::from_y) ys[r] = load_pack<T, V>(g.y + at * p.ldy + channel);
  }
#pragma unroll
  for (int r = 0; r < kRows; ++r) {
    const int64_t at = pixel + int64_t{r} * blockDim.y;
    M dz[V];
#pragma unroll
    for (int v = 0; v < V; ++v) {
      M y = 0;
      if constexpr (kMask == ReluMask::from_y) y = static_cast<M>(ys[r].value[v]);
      dz[v] = batch_norm_dz<kMask>(static_cast<M>(dys[r].value[v]), static_cast<M>(xs[r].value[v]),
                                   y, scale[v], shift[v]);
    }
    if (g.dresidual_mode != GradMode::ignore) {
      T* const to = g.dresidual + at * p.ldy + channel;
      Pack<T, V> out;
      if (g.dresidual_mode == GradMode::accumulate) out = load_pack<T, V>(to);
#pragma unroll
      for (int v = 0; v < V; ++v)
        out.value[v] =
            T(g.dresidual_mode == GradMode::accumulate ? static_cast<M>(out.value[v]) + dz[v]
                                                       : dz[v]);
      store_pack<T, V>(to, out);
    }
    if (g.dx_mode != GradMode::ignore) {
      T* const to = g.dx + at * p.ldx + channel;
      Pack<T, V> out;
      if (g.dx_mode == GradMode::accumulate) out = load_pack<T, V>(to);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        M d = scale[v] * dz[v];
        if (g.b)
          d = fma(scale[v], dz[v], fma(b[v], static_cast<M>(xs[r].value[v]) - mean[v], c[v]));
        if (g.dx_mode == GradMode::accumulate) d += static_cast<M>(out.value[v]);
        out.value[v] = T(d);
      }
      store_pack<T, V>(to, out);
    }
  }
}

template <class T, int V, ReluMask kMask>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_dx_kernel(BatchNormPixels p, BatchNormGradients<T> g) {
  using M = Master<T>;
  const int segment = static_cast<int>(blockIdx.z);
  const BatchNormUnit unit = batch_norm_unit(p, blockIdx.x, segment);
  const int channel = batch_norm_channel<V>();
  if (channel >= p.C) return;
  M scale[V], shift[V], mean[V], b[V] = {}, c[V] = {};
  for (int v = 0; v < V; ++v) {
    const int64_t at = int64_t{segment} * p.C + channel + v;
    scale[v] = g.scale[at];
    shift[v] = g.shift[at];
    mean[v] = g.mean[segment * g.ld + channel + v];
    if (!g.b) continue;
    b[v] = g.b[at];
    c[v] = g.c[at];
  }
  constexpr int kRows = sizeof(T) == 8 ? 1 : 2;  // registers
  int64_t pixel = unit.begin + threadIdx.y;
  for (; pixel + (kRows - 1) * int64_t{blockDim.y} < unit.end; pixel += kRows * int64_t{blockDim.y})
    dx_rows<kRows, kMask>(p, g, pixel, channel, scale, shift, mean, b, c);
  for (; pixel < unit.end; pixel += blockDim.y)
    dx_rows<1, kMask>(p, g, pixel, channel, scale, shift, mean, b, c);
}

// The whole backward pass of a channel by one thread: sums over a segment, then its gradients.
template <class T, ReluMask kMask>
__global__ void __launch_bounds__(kBatchNormThreads, 1)
    batch_norm_backward_naive_kernel(BatchNormPixels p, BatchNormGradients<T> g, int segments,
                                     double eps, Master<T>* dgamma, Master<T>* dbeta,
                                     bool accumulate) {
  using M = Master<T>;
  const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (channel >= p.C) return;
  double gamma_sum = 0, beta_sum = 0;
#pragma unroll 1
  for (int segment = 0; segment < segments; ++segment) {
    const int64_t begin = p.offsets[segment] * p.image, end = p.offsets[segment + 1] * p.image;
    const int64_t at = int64_t{segment} * p.C + channel;
    const M scale[1] = {g.scale[at]}, shift[1] = {g.shift[at]};
    const M mean[1] = {g.mean[segment * g.ld + channel]};
    double sum_dz = 0, sum_dzx = 0;
    for (int64_t pixel = begin; pixel < end; ++pixel) {
      const M x = static_cast<M>(g.x[pixel * p.ldx + channel]);
      M y = 0;
      if constexpr (kMask == ReluMask::from_y) y = static_cast<M>(g.y[pixel * p.ldy + channel]);
      const double dz = batch_norm_dz<kMask>(static_cast<M>(g.dy[pixel * p.ldy + channel]), x, y,
                                             scale[0], shift[0]);
      sum_dz += dz;
      sum_dzx += dz * (static_cast<double>(x) - mean[0]);
    }
    finish_channel(p, g, eps, segment, channel, sum_dz, sum_dzx, gamma_sum, beta_sum);
    const M b[1] = {g.b ? g.b[at] : M(0)}, c[1] = {g.b ? g.c[at] : M(0)};
    for (int64_t pixel = begin; pixel < end; ++pixel)
      dx_rows<1, kMask, T, 1>(p, g, pixel, channel, scale, shift, mean, b, c);
  }
  store_parameter(dgamma, channel, gamma_sum, accumulate);
  store_parameter(dbeta, channel, beta_sum, accumulate);
}

// --- Running statistics --------------------------------------------------------------------------

// As on the CPU, to the bit: one thread a column.
template <class M>
__global__ void __launch_bounds__(kBatchNormThreads)
    batch_norm_update_running_kernel(BatchNormRunning<M> args) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c >= args.columns) return;
  const int layer = args.layer_of_column[c];
  double m = 0, v = 0;
#pragma unroll 1  // a division each: unrolled they spill
  for (int row = 0; row < args.rows; ++row) {
    const double n = args.counts[int64_t{row} * args.layers + layer];
    m += args.mean[row * args.columns + c];
    v += args.variance[row * args.columns + c] * (n / (n - 1));
  }
  args.running_mean[c] =
      static_cast<M>((1 - args.momentum) * args.running_mean[c] + args.momentum * (m / args.rows));
  args.running_variance[c] = static_cast<M>((1 - args.momentum) * args.running_variance[c] +
                                            args.momentum * (v / args.rows));
}

}  // namespace mono
