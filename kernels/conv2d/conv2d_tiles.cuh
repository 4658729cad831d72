// What all convolution kernels of the GPU share: how pixels are cut into tiles, where a tap reads,
// and the elementwise prologue.
//
// fprop and dgrad are one product: rows are pixels of the destination, columns its channels, and
// the sum runs over filter taps and channels of the source. dgrad reads g with the transposed
// filter; with a stride, pixels of the same remainder (h % stride, w % stride) form a class, and in
// each class the taps that hit a pixel of g are the same for all pixels: no multiplication by the
// zeros that a stride leaves.
//
// A tile is a run of consecutive pixels (of its class) inside one segment, counted from the
// segment's beginning: tables of the segment are the tile's, and what is summed over tiles does not
// depend on the rest of the batch.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/simt.cuh"

namespace mono::conv2d_gpu {

// Operands of fprop (source x, columns K) and dgrad (source g, columns C).
template <class T>
struct Product {
  const T* source;  // (N,H,W,depth), pitch ld
  int H, W, ld, depth;
  bool source_vectors;  // 16-byte aligned, and so is the pitch
  const float* scale;   // prologue on the source, (segments, depth); null: none
  const float* shift;
  const T* filter;  // (columns, R*S, padded_depth), zero beyond depth
  int padded_depth;
  int R, S, stride, pad;
  int out_H, out_W, columns;  // destination
  bool transposed;            // dgrad
  const int* offsets;         // of the segments, in the GPU's memory
  int segments;

  MONO_HOST_DEVICE int classes() const { return transposed ? stride * stride : 1; }
  // Pixels an image has in the largest class, the first.
  MONO_HOST_DEVICE int image_pixels() const {
    const int step = transposed ? stride : 1;
    return ((out_H + step - 1) / step) * ((out_W + step - 1) / step);
  }
};

// Destination pixels (h0 + i*step, w0 + j*step), i < H, j < W, and their taps: tap (a, b) is
// r = r0 + a*tap_step, s = s0 + b*tap_step and reads source pixel
// (i*source_step + h_tap + a*direction, j*source_step + w_tap + b*direction).
struct PixelClass {
  int h0, w0, step, H, W;
  int r0, s0, tap_step, taps_r, taps_s;
  int source_step, h_tap, w_tap, direction;
};

template <class T>
__device__ __forceinline__ PixelClass pixel_class(const Product<T>& p, int index) {
  if (!p.transposed)
    return {0, 0, 1, p.out_H, p.out_W, 0, 0, 1, p.R, p.S, p.stride, -p.pad, -p.pad, 1};
  PixelClass c;
  c.h0 = index / p.stride;
  c.w0 = index % p.stride;
  c.step = p.stride;
  c.H = (p.out_H - c.h0 + p.stride - 1) / p.stride;
  c.W = (p.out_W - c.w0 + p.stride - 1) / p.stride;
  c.r0 = (c.h0 + p.pad) % p.stride;
  c.s0 = (c.w0 + p.pad) % p.stride;
  c.tap_step = p.stride;
  c.taps_r = (p.R - c.r0 + p.stride - 1) / p.stride;
  c.taps_s = (p.S - c.s0 + p.stride - 1) / p.stride;
  c.source_step = 1;
  c.h_tap = (c.h0 + p.pad) / p.stride;
  c.w_tap = (c.w0 + p.pad) / p.stride;
  c.direction = -1;
  return c;
}

struct Tile {
  int segment;
  int first, rows;  // pixels [first, first + rows) of the class, counted through the batch
};

// Tile `index` of those of `tile_pixels` pixels. All classes have the tiles of the largest one,
// `most_pixels` an image; some of a smaller class are empty (rows 0).
__device__ __forceinline__ Tile tile_at(const int* offsets, int segments, int most_pixels,
                                        int image_pixels, int tile_pixels, int index) {
  Tile tile{0, 0, 0};
  int begin = offsets[0], end = offsets[1];
  for (;;) {
    const int tiles = ((end - begin) * most_pixels + tile_pixels - 1) / tile_pixels;
    if (index < tiles || tile.segment + 1 == segments) break;
    index -= tiles;
    ++tile.segment;
    begin = end;
    end = offsets[tile.segment + 1];
  }
  tile.first = begin * image_pixels + index * tile_pixels;
  tile.rows = max(0, min(tile_pixels, end * image_pixels - tile.first));
  return tile;
}

// Where a pixel of a class lies: in the destination (index through the batch), or as (n, i, j).
struct PixelPosition {
  int n, i, j;
};
__device__ __forceinline__ PixelPosition position_of(const PixelClass& c, int pixel) {
  const int row = pixel / c.W, n = row / c.H;
  return {n, row - n * c.H, pixel - row * c.W};
}
template <class T>
__device__ __forceinline__ int destination_of(const Product<T>& p, const PixelClass& c, int pixel) {
  if (c.step == 1) return pixel;
  const PixelPosition at = position_of(c, pixel);
  return (at.n * p.out_H + c.h0 + at.i * c.step) * p.out_W + c.w0 + at.j * c.step;
}

// A value as an activation of type T holds it.
template <class T>
__device__ __forceinline__ float rounded(float value) {
  return static_cast<float>(T(value));
}
// max(0, scale * x + shift), rounded; a NaN stays one.
template <class T>
__device__ __forceinline__ float scale_shift_relu(float x, float scale, float shift) {
  const float z = fma(scale, x, shift);
  return rounded<T>(z < 0 ? 0.0f : z);
}

// Two neighbouring values. `wide`: the address is aligned for both at once; `both`: the second one
// exists (else it reads as 0 and is not written).
__device__ __forceinline__ float2 load_pair(const float* p, bool wide, bool both) {
  if (wide && both) return *reinterpret_cast<const float2*>(p);
  return make_float2(p[0], both ? p[1] : 0.0f);
}
__device__ __forceinline__ float2 load_pair(const bf16* p, bool wide, bool both) {
  if (wide && both) {
    const uint32_t bits = *reinterpret_cast<const uint32_t*>(p);
    return make_float2(__uint_as_float(bits << 16), __uint_as_float(bits & 0xffff0000u));
  }
  return make_float2(static_cast<float>(p[0]), both ? static_cast<float>(p[1]) : 0.0f);
}
__device__ __forceinline__ void store_pair(float* p, float2 v, bool wide, bool both) {
  if (wide && both) {
    *reinterpret_cast<float2*>(p) = v;
  } else {
    p[0] = v.x;
    if (both) p[1] = v.y;
  }
}
__device__ __forceinline__ void store_pair(bf16* p, float2 v, bool wide, bool both) {
  const bf16 x(v.x), y(v.y);
  if (wide && both) {
    *reinterpret_cast<uint32_t*>(p) = x.bits | static_cast<uint32_t>(y.bits) << 16;
  } else {
    p[0] = x;
    if (both) p[1] = y;
  }
}

}  // namespace mono::conv2d_gpu
