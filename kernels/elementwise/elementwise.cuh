// Elementwise kernels: a thread takes a pack of V elements (16 bytes, or one element where arrays
// are not aligned), in a grid-stride loop, so that any n runs on any grid. Traffic: each operand
// once; neighbouring threads touch neighbouring packs.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/block_sum.cuh"
#include "kernels/simt/pack.cuh"

namespace mono {

#define MONO_FOR_ELEMENTS(i, n)                                             \
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < (n); \
       i += int64_t{gridDim.x} * blockDim.x)

template <class T, int V>
__global__ void add_kernel(int64_t packs, const T* a, const T* b, T* y) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, packs) {
    Pack<T, V> out = load_pack<T, V>(a + i * V);
    const Pack<T, V> other = load_pack<T, V>(b + i * V);
#pragma unroll
    for (int v = 0; v < V; ++v)
      out.value[v] = T(static_cast<M>(out.value[v]) + static_cast<M>(other.value[v]));
    store_pack<T, V>(y + i * V, out);
  }
}

template <class T, int V>
__global__ void relu_forward_kernel(int64_t packs, const T* x, T* y) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, packs) {
    Pack<T, V> pack = load_pack<T, V>(x + i * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const M value = static_cast<M>(pack.value[v]);
      pack.value[v] = T(value < 0 ? M(0) : value);  // in this form NaN goes through
    }
    store_pack<T, V>(y + i * V, pack);
  }
}

template <class T, int V>
__global__ void relu_backward_kernel(int64_t packs, const T* dy, const T* y, T* dx,
                                     bool accumulate) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, packs) {
    const Pack<T, V> g = load_pack<T, V>(dy + i * V), out = load_pack<T, V>(y + i * V);
    Pack<T, V> in{};
    if (accumulate) in = load_pack<T, V>(dx + i * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const M value = static_cast<M>(out.value[v]) > 0 ? static_cast<M>(g.value[v]) : M(0);
      in.value[v] = T(accumulate ? static_cast<M>(in.value[v]) + value : value);
    }
    store_pack<T, V>(dx + i * V, in);
  }
}

template <class T, int V>
__device__ __forceinline__ void scale(int64_t packs, Master<T> alpha, const T* x, T* y,
                                      bool accumulate) {
  using M = Master<T>;
  MONO_FOR_ELEMENTS(i, packs) {
    const Pack<T, V> in = load_pack<T, V>(x + i * V);
    Pack<T, V> out{};
    if (accumulate) out = load_pack<T, V>(y + i * V);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const M value = static_cast<M>(in.value[v]);
      out.value[v] =
          T(accumulate ? fma(alpha, value, static_cast<M>(out.value[v])) : alpha * value);
    }
    store_pack<T, V>(y + i * V, out);
  }
}
template <class T, int V>
__global__ void scale_kernel(int64_t packs, Master<T> alpha, const T* x, T* y, bool accumulate) {
  scale<T, V>(packs, alpha, x, y, accumulate);
}
template <class T, int V>
__global__ void scale_by_kernel(int64_t packs, const double* alpha, const T* x, T* y,
                                bool accumulate) {
  scale<T, V>(packs, static_cast<Master<T>>(*alpha), x, y, accumulate);
}

// Threads x are neighbouring packs of a pixel, threads y neighbouring pixels. V elements of the
// wider type are 16 bytes.
template <class To, class From, int V>
__global__ void copy_channels_kernel(int64_t pixels, int C, const From* x, int64_t ldx, To* y,
                                     int64_t ldy, bool accumulate) {
  using M = Master<To>;
  const int c = static_cast<int>(blockIdx.y * blockDim.x + threadIdx.x) * V;
  if (c >= C) return;
  for (int64_t pixel = int64_t{blockIdx.x} * blockDim.y + threadIdx.y; pixel < pixels;
       pixel += int64_t{gridDim.x} * blockDim.y) {
    const Pack<From, V> in = load_pack<From, V>(x + pixel * ldx + c);
    Pack<To, V> out{};
    if (accumulate) out = load_pack<To, V>(y + pixel * ldy + c);
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const M value = static_cast<M>(static_cast<Master<From>>(in.value[v]));
      out.value[v] = To(accumulate ? static_cast<M>(out.value[v]) + value : value);
    }
    store_pack<To, V>(y + pixel * ldy + c, out);
  }
}

// One thread a value; index null: row r of the output is row r of the table.
template <class M>
__global__ void copy_rows_kernel(int rows, int C, const M* table, int64_t ld_table,
                                 const int* index, M* y, int64_t ldy) {
  MONO_FOR_ELEMENTS(i, int64_t{rows} * C) {
    const int64_t row = i / C, c = i - row * C;
    y[row * ldy + c] = table[(index ? index[row] : row) * ld_table + c];
  }
}

inline constexpr int kSumThreads = 256;

// sums[block] = sum of squares, in double, of the block's unit of x.
template <class M>
__global__ void __launch_bounds__(kSumThreads)
    sum_of_squares_kernel(int64_t n, int64_t unit, const M* __restrict__ x, double* sums) {
  using Shared = double[kSumThreads / 32];
  MONO_SHARED(Shared, shared);
  const int64_t begin = blockIdx.x * unit, end = min(begin + unit, n);
  double sum = 0;
#pragma unroll 8
  for (int64_t i = begin + threadIdx.x; i < end; i += kSumThreads) {
    const double v = x[i];
    sum = fma(v, v, sum);
  }
  sum = block_sum<kSumThreads>(sum, static_cast<double*>(shared));
  if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// *result = the sum of `units` values, by one block.
template <class V>
__global__ void __launch_bounds__(kSumThreads)
    add_units_kernel(int units, const V* sums, V* result) {
  using Shared = V[kSumThreads / 32];
  MONO_SHARED(Shared, shared);
  V sum = 0;
  for (int i = static_cast<int>(threadIdx.x); i < units; i += kSumThreads) sum += sums[i];
  sum = block_sum<kSumThreads>(sum, static_cast<V*>(shared));
  if (threadIdx.x == 0) *result = sum;
}

}  // namespace mono
