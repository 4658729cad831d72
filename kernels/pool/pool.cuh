// Pooling on the GPU: a thread takes a pack of V channels of one pixel, of the output (forward) or
// of the input gradient (backward), so that neighbouring threads read neighbouring memory. Backward
// gathers from the windows that hold the pixel, in row-major order: no atomics.
//
// Blocks: x along a row of pixels and packs, y the row, z the image.
#pragma once

#include "kernels/pool/pool.h"
#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kPoolThreads = 256;

struct PoolShape {  // of a problem, with the pitches filled in
  int H, W, P, Q, C;
  int window, stride, pad;
  int64_t ldx, ldy;
};

// The thread's pixel and first channel of a row of `pixels`; false beyond the row.
struct PoolPlace {
  int column, channel;
};
template <int V>
__device__ __forceinline__ bool pool_place(int pixels, int C, PoolPlace& place) {
  const int packs = C / V, i = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  place.column = i / packs;
  place.channel = i % packs * V;
  return place.column < pixels;
}

// kWindow: the window where it is known at compile time, so that all its loads are under way
// together; else 0.
template <int kWindow>
__device__ __forceinline__ int pool_window(const PoolShape& s) {
  return kWindow ? kWindow : s.window;
}

// Pointer of pixel (image, row, column), `rows` x `columns` pixels an image.
template <class T>
__device__ __forceinline__ T* pool_pixel(T* base, int rows, int columns, int64_t ld, int row,
                                         int column) {
  return base + ((int64_t{blockIdx.z} * rows + row) * columns + column) * ld;
}

template <class T, int V, int kWindow>
__global__ void __launch_bounds__(kPoolThreads, 4)
    max_pool_forward_kernel(PoolShape s, const T* __restrict__ x, T* __restrict__ y,
                            uint8_t* __restrict__ argmax) {
  using M = Master<T>;
  PoolPlace at;
  if (!pool_place<V>(s.Q, s.C, at)) return;
  const int p = static_cast<int>(blockIdx.y), window = pool_window<kWindow>(s);
  Pack<T, V> best{};
  Pack<uint8_t, V> winner{};
  bool first = true;
#pragma unroll
  for (int r = 0; r < window; ++r)
#pragma unroll
    for (int q = 0; q < window; ++q) {
      const int h = p * s.stride - s.pad + r, w = at.column * s.stride - s.pad + q;
      if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
      const Pack<T, V> in = load_pack<T, V>(pool_pixel(x, s.H, s.W, s.ldx, h, w) + at.channel);
      const uint8_t tap = static_cast<uint8_t>(r * window + q);
#pragma unroll
      for (int v = 0; v < V; ++v) {
        const M value = static_cast<M>(in.value[v]);
        // NaN wins and stays, as in PyTorch
        if (!first && !(value > static_cast<M>(best.value[v])) && value == value) continue;
        best.value[v] = in.value[v];
        winner.value[v] = tap;
      }
      first = false;
    }
  store_pack<T, V>(pool_pixel(y, s.P, s.Q, s.ldy, p, at.column) + at.channel, best);
  store_pack<uint8_t, V>(pool_pixel(argmax, s.P, s.Q, s.C, p, at.column) + at.channel, winner);
}

template <class T, int V, int kWindow>
__global__ void __launch_bounds__(kPoolThreads, 4)
    average_pool_forward_kernel(PoolShape s, const T* __restrict__ x, T* __restrict__ y) {
  using M = Master<T>;
  PoolPlace at;
  if (!pool_place<V>(s.Q, s.C, at)) return;
  const int p = static_cast<int>(blockIdx.y), window = pool_window<kWindow>(s);
  M sum[V] = {};
#pragma unroll
  for (int r = 0; r < window; ++r)
#pragma unroll
    for (int q = 0; q < window; ++q) {
      const int h = p * s.stride - s.pad + r, w = at.column * s.stride - s.pad + q;
      if (h < 0 || h >= s.H || w < 0 || w >= s.W) continue;
      const Pack<T, V> in = load_pack<T, V>(pool_pixel(x, s.H, s.W, s.ldx, h, w) + at.channel);
#pragma unroll
      for (int v = 0; v < V; ++v) sum[v] += static_cast<M>(in.value[v]);
    }
  const M weight = M(1) / static_cast<M>(window * window);
  Pack<T, V> out;
  for (int v = 0; v < V; ++v) out.value[v] = T(sum[v] * weight);
  store_pack<T, V>(pool_pixel(y, s.P, s.Q, s.ldy, p, at.column) + at.channel, out);
}

// Windows [first, last) along one axis that hold input coordinate i.
struct PoolRange {
  int first, last;
};
__device__ __forceinline__ PoolRange pool_windows_over(const PoolShape& s, int i, int outputs) {
  const int from = i + s.pad - s.window + 1;  // start of the earliest window, if on the stride
  return {from <= 0 ? 0 : (from + s.stride - 1) / s.stride,
          min((i + s.pad) / s.stride + 1, outputs)};
}

// kMax: the gradient goes to the tap that won; else every tap of a window gets its share.
template <class T, int V, bool kMax>
__global__ void __launch_bounds__(kPoolThreads, 4)
    pool_backward_kernel(PoolShape s, const T* __restrict__ dy, const uint8_t* __restrict__ argmax,
                         T* dx, bool accumulate) {
  using M = Master<T>;
  PoolPlace at;
  if (!pool_place<V>(s.W, s.C, at)) return;
  const int h = static_cast<int>(blockIdx.y);
  const PoolRange rows = pool_windows_over(s, h, s.P),
                  columns = pool_windows_over(s, at.column, s.Q);
  M sum[V] = {};
  for (int p = rows.first; p < rows.last; ++p)
    for (int q = columns.first; q < columns.last; ++q) {
      const Pack<T, V> g = load_pack<T, V>(pool_pixel(dy, s.P, s.Q, s.ldy, p, q) + at.channel);
      if constexpr (kMax) {
        const int tap = (h + s.pad - p * s.stride) * s.window + (at.column + s.pad - q * s.stride);
        const Pack<uint8_t, V> winner =
            load_pack<uint8_t, V>(pool_pixel(argmax, s.P, s.Q, s.C, p, q) + at.channel);
#pragma unroll
        for (int v = 0; v < V; ++v)
          sum[v] += winner.value[v] == tap ? static_cast<M>(g.value[v]) : M(0);
      } else {
#pragma unroll
        for (int v = 0; v < V; ++v) sum[v] += static_cast<M>(g.value[v]);
      }
    }
  const M weight = kMax ? M(1) : M(1) / static_cast<M>(s.window * s.window);
  T* const to = pool_pixel(dx, s.H, s.W, s.ldx, h, at.column) + at.channel;
  Pack<T, V> out;
  if (accumulate) out = load_pack<T, V>(to);
#pragma unroll
  for (int v = 0; v < V; ++v)
    out.value[v] =
        T(accumulate ? fma(sum[v], weight, static_cast<M>(out.value[v])) : sum[v] * weight);
  store_pack<T, V>(to, out);
}

// Block y an image; threads x neighbouring packs, threads y every blockDim.y-th pixel. A thread
// adds 32 pixels in Master<T>, and those sums in double.
template <class T, int V>
__global__ void __launch_bounds__(kPoolThreads, 4)
    global_average_forward_kernel(int64_t pixels, int C, int64_t ldx, const T* __restrict__ x,
                                  T* __restrict__ y) {
  using M = Master<T>;
  using Shared = double[V * kPoolThreads];
  MONO_SHARED(Shared, shared);
  const int channel = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * V;
  const int row = static_cast<int>(threadIdx.y), width = static_cast<int>(blockDim.x);
  const int thread = row * width + static_cast<int>(threadIdx.x);
  const T* const image = x + int64_t{blockIdx.y} * pixels * ldx + channel;
  double sum[V] = {};
  if (channel < C) {
    const int64_t step = blockDim.y;
    for (int64_t first = row; first < pixels; first += 32 * step) {
      M part[V] = {};
      const int64_t end = min(first + 32 * step, pixels);
#pragma unroll 4
      for (int64_t pixel = first; pixel < end; pixel += step) {
        const Pack<T, V> in = load_pack<T, V>(image + pixel * ldx);
#pragma unroll
        for (int v = 0; v < V; ++v) part[v] += static_cast<M>(in.value[v]);
      }
      for (int v = 0; v < V; ++v) sum[v] += static_cast<double>(part[v]);
    }
  }
  for (int v = 0; v < V; ++v) shared[v * kPoolThreads + thread] = sum[v];
  for (int rows = static_cast<int>(blockDim.y); rows > 1;) {
    const int half = (rows + 1) / 2;
    __syncthreads();
    if (row + half < rows)
      for (int v = 0; v < V; ++v)
        shared[v * kPoolThreads + thread] += shared[v * kPoolThreads + thread + half * width];
    rows = half;
  }
  if (row != 0 || channel >= C) return;
  Pack<T, V> out;
  for (int v = 0; v < V; ++v)
    out.value[v] =
        T(static_cast<M>(shared[v * kPoolThreads + thread] / static_cast<double>(pixels)));
  store_pack<T, V>(y + int64_t{blockIdx.y} * C + channel, out);
}

// Blocks y are images.
template <class T, int V>
__global__ void __launch_bounds__(kPoolThreads, 4)
    global_average_backward_kernel(int64_t pixels, int C, int64_t ldx, const T* __restrict__ dy,
                                   T* dx, Master<T> weight, bool accumulate) {
  using M = Master<T>;
  const int packs = C / V;
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x, pixel = i / packs;
  if (pixel >= pixels) return;
  const int channel = static_cast<int>(i - pixel * packs) * V;
  const Pack<T, V> g = load_pack<T, V>(dy + int64_t{blockIdx.y} * C + channel);
  T* const to = dx + (int64_t{blockIdx.y} * pixels + pixel) * ldx + channel;
  Pack<T, V> out;
  if (accumulate) out = load_pack<T, V>(to);
#pragma unroll
  for (int v = 0; v < V; ++v) {
    const M value = static_cast<M>(g.value[v]);
    out.value[v] =
        T(accumulate ? fma(value, weight, static_cast<M>(out.value[v])) : value * weight);
  }
  store_pack<T, V>(to, out);
}

}  // namespace mono
