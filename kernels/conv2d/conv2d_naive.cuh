// Variant `naive`: a thread computes one output value at a time, its operands straight from global
// memory; the caches are all the reuse there is. f32 accumulation, a block of
// at most 128 terms at a time.
//
// Traffic: every value of x (or g) is asked for once per output channel and tap, every weight once
// per output pixel: 2 loads for 2 FLOP.
#pragma once

#include "kernels/conv2d/conv2d_epilogue.cuh"
#include "kernels/conv2d/conv2d_wgrad.cuh"

namespace mono::conv2d_gpu {

constexpr int kNaiveBlock = 128;  // terms of a partial sum
constexpr int kNaiveRows = 64, kNaiveColumns = 32, kNaiveThreads = 256;

template <class T, class Epilogue>
__global__ void __launch_bounds__(kNaiveThreads)
    naive_kernel(const Product<T> p, const Epilogue epilogue, int column_tiles) {
  using Values = float[kNaiveRows * tile_pitch(kNaiveColumns)];
  MONO_SHARED(Values, values);
  const int classes = p.classes();
  const int64_t unit = blockIdx.x / column_tiles;
  const int column0 = static_cast<int>(blockIdx.x % column_tiles) * kNaiveColumns;
  const PixelClass c = pixel_class(p, static_cast<int>(unit % classes));
  const Tile tile = tile_at(p.offsets, p.segments, p.image_pixels(), c.H * c.W, kNaiveRows,
                            static_cast<int>(unit / classes));

  const int lane = static_cast<int>(threadIdx.x) % 32, column = column0 + lane;
  const int64_t table = int64_t{tile.segment} * p.depth;
  for (int row = static_cast<int>(threadIdx.x) / 32; row < tile.rows; row += kNaiveThreads / 32) {
    const PixelPosition at = position_of(c, tile.first + row);
    float sum = 0;
    for (int a = 0; column < p.columns && a < c.taps_r; ++a)
      for (int b = 0; b < c.taps_s; ++b) {
        const int h = at.i * c.source_step + c.h_tap + a * c.direction;
        const int w = at.j * c.source_step + c.w_tap + b * c.direction;
        if (h < 0 || h >= p.H || w < 0 || w >= p.W) continue;
        const T* source = p.source + ((int64_t{at.n} * p.H + h) * p.W + w) * p.ld;
        const int tap = (c.r0 + a * c.tap_step) * p.S + c.s0 + b * c.tap_step;
        const T* filter = p.filter + (int64_t{column} * p.R * p.S + tap) * p.padded_depth;
        for (int d0 = 0; d0 < p.depth; d0 += kNaiveBlock) {
          float block = 0;
          for (int d = d0; d < min(p.depth, d0 + kNaiveBlock); ++d) {
            float z = static_cast<float>(source[d]);
            if (p.scale) z = scale_shift_relu<T>(z, p.scale[table + d], p.shift[table + d]);
            block = fma(z, static_cast<float>(filter[d]), block);
          }
          sum += block;
        }
      }
    values[row * tile_pitch(kNaiveColumns) + lane] = sum;
  }
  __syncthreads();
  epilogue.template operator()<kNaiveColumns, kNaiveThreads>(p, c, tile, unit, column0, values);
}

// One thread a weight (flattened index of (K,R,S,C)) and unit of pixels.
template <class T>
__global__ void __launch_bounds__(kNaiveThreads) naive_wgrad_kernel(const WeightGradient<T> p) {
  const int64_t weights = p.weights();
  const int64_t index = int64_t{blockIdx.x} * kNaiveThreads + threadIdx.x;
  if (index >= weights) return;
  const int c = static_cast<int>(index % p.C), tap = static_cast<int>(index / p.C % (p.R * p.S));
  const int k = static_cast<int>(index / p.C / (p.R * p.S));
  const int r = tap / p.S, s = tap % p.S;
  const Tile unit = p.unit(static_cast<int>(blockIdx.y));
  const int64_t table = int64_t{unit.segment} * p.C + c;
  float sum = 0;
  for (int pixel = unit.first; pixel < unit.first + unit.rows; ++pixel) {
    const int row = pixel / p.Q, n = row / p.P;
    const int h = (row - n * p.P) * p.stride + r - p.pad;
    const int w = (pixel - row * p.Q) * p.stride + s - p.pad;
    if (h < 0 || h >= p.H || w < 0 || w >= p.W) continue;
    float z = static_cast<float>(p.x[((int64_t{n} * p.H + h) * p.W + w) * p.ldx + c]);
    if (p.scale) z = scale_shift_relu<T>(z, p.scale[table], p.shift[table]);
    sum = fma(static_cast<float>(p.g[int64_t{pixel} * p.ldg + k]), z, sum);
  }
  p.partial[blockIdx.y * weights + index] = sum;
}

}  // namespace mono::conv2d_gpu
