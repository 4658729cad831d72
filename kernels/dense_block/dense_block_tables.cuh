// Kernels of the tables, and of the last pass over the input's gradient.
#pragma once

#include "kernels/dense_block/dense_block_tables.h"
#include "kernels/simt/pack.cuh"
#include "kernels/simt/simt.cuh"

namespace mono::dense_block_tables {

inline constexpr int kThreads = 128;

// A thread an element. Tables are small; what counts is the number of launches.
template <class Step>
__global__ void __launch_bounds__(kThreads) for_each_element_kernel(int64_t n, Step step) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i < n) step(i);
}

// `Width` neighbouring channels of a pixel per thread. Grid: (pixels of a segment, segments).
// Traffic: D read and written, x read, once.
template <class T, int Width>
__global__ void __launch_bounds__(kThreads) finish_input_kernel(FinishInput<T> in) {
  using M = Master<T>;
  const int s = static_cast<int>(blockIdx.y), groups = in.C / Width;
  const int64_t first = in.segments.gpu_offsets[s] * in.image_pixels;
  const int64_t n = (in.segments.gpu_offsets[s + 1] * in.image_pixels - first) * groups;
  for (int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x; i < n;
       i += int64_t{gridDim.x} * blockDim.x) {
    const int c = static_cast<int>(i % groups) * Width;
    const int64_t at = (first + i / groups) * in.ld + c, table = int64_t{s} * in.C + c;
    const Pack<T, Width> x = load_pack<T, Width>(in.x + at);
    Pack<M, Width> d = load_pack<M, Width>(in.D + at);
#pragma unroll
    for (int j = 0; j < Width; ++j)
      d.value[j] += fma(in.b[table + j], static_cast<M>(x.value[j]), in.c[table + j]);
    store_pack(in.D + at, d);
  }
}

}  // namespace mono::dense_block_tables
