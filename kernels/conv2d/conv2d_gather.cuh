// Loading tiles of a product from images, 16 bytes at a time: the walk over taps and channels, the
// pixels that a thread is responsible for, and the prologue on what it loaded.
//
// The reduction of fprop and dgrad is one index over (tap, channel), channels rounded up to whole
// vectors: steps of the pipeline may begin and end inside a tap, so that neither 6 channels in 49
// taps nor 48 in 9 waste any. A thread's vector has the same place in every step; its rows are the
// same pixels throughout.
#pragma once

#include "kernels/conv2d/conv2d_tiles.cuh"

namespace mono::conv2d_gpu {

template <class T>
inline constexpr int kVector = 16 / sizeof(T);  // values in 16 bytes

// Where a thread is in the reduction: tap (a, b) of the class, channel d.
struct TapCursor {
  int a = 0, b = 0, d = 0;

  __device__ __forceinline__ void advance(int channels, int padded_depth, int taps_s) {
    d += channels;
    while (d >= padded_depth) {
      d -= padded_depth;
      if (++b == taps_s) b = 0, ++a;
    }
  }
};

// A row of the product: the source pixel that tap (0, 0) reads.
struct GatherRow {
  int image;  // index of the image's first pixel
  int h, w;   // may lie outside the image; far outside for a row beyond the tile

  template <class T>
  __device__ __forceinline__ static GatherRow of(const Product<T>& p, const PixelClass& c,
                                                 const Tile& tile, int row) {
    if (row >= tile.rows) return {0, -(1 << 29), 0};
    const PixelPosition at = position_of(c, tile.first + row);
    return {at.n * p.H * p.W, at.i * c.source_step + c.h_tap, at.j * c.source_step + c.w_tap};
  }
  // The source of the row's vector at the cursor; null where it is padding.
  template <class T>
  __device__ __forceinline__ const T* source(const Product<T>& p, const PixelClass& c,
                                             const TapCursor& at) const {
    const int y = h + at.a * c.direction, x = w + at.b * c.direction;
    const bool inside = at.a < c.taps_r && static_cast<unsigned>(y) < static_cast<unsigned>(p.H) &&
                        static_cast<unsigned>(x) < static_cast<unsigned>(p.W);
    return inside ? p.source + int64_t{image + y * p.W + x} * p.ld + at.d : nullptr;
  }
};

// The vector of the packed filter at the cursor; null beyond the last column or tap.
template <class T>
__device__ __forceinline__ const T* filter_vector(const Product<T>& p, const PixelClass& c,
                                                  int column, const TapCursor& at) {
  if (column >= p.columns || at.a >= c.taps_r) return nullptr;
  const int tap = (c.r0 + at.a * c.tap_step) * p.S + c.s0 + at.b * c.tap_step;
  return p.filter + (int64_t{column} * p.R * p.S + tap) * p.padded_depth + at.d;
}

// A vector as floats; values from `valid` on are 0. `wide`: the address is 16-byte aligned.
__device__ __forceinline__ void unpack(const uint4& bits, float (&v)[4]) {
  v[0] = __uint_as_float(bits.x), v[1] = __uint_as_float(bits.y);
  v[2] = __uint_as_float(bits.z), v[3] = __uint_as_float(bits.w);
}
__device__ __forceinline__ void unpack(const uint4& bits, float (&v)[8]) {
  const uint32_t words[4] = {bits.x, bits.y, bits.z, bits.w};
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    v[2 * i] = __uint_as_float(words[i] << 16);
    v[2 * i + 1] = __uint_as_float(words[i] & 0xffff0000u);
  }
}
template <class T>
__device__ __forceinline__ void load_vector(const T* from, int valid, bool wide,
                                            float (&v)[kVector<T>]) {
  if (wide && valid == kVector<T>) {
    unpack(*reinterpret_cast<const uint4*>(from), v);
    return;
  }
#pragma unroll
  for (int e = 0; e < kVector<T>; ++e) v[e] = e < valid ? static_cast<float>(from[e]) : 0.0f;
}
__device__ __forceinline__ uint4 pack(const float (&v)[8]) {
  uint32_t words[4];
#pragma unroll
  for (int i = 0; i < 4; ++i)
    words[i] = bf16(v[2 * i]).bits | static_cast<uint32_t>(bf16(v[2 * i + 1]).bits) << 16;
  return make_uint4(words[0], words[1], words[2], words[3]);
}

// Scale and shift of a vector's channels, 0 from `valid` on: what is 0 there stays 0.
template <class T>
struct VectorTables {
  float scale[kVector<T>], shift[kVector<T>];

  __device__ __forceinline__ void load(const float* scales, const float* shifts, int64_t at,
                                       int valid) {
    load_row(scales + at, valid, scale);
    load_row(shifts + at, valid, shift);
  }
  __device__ __forceinline__ void apply(float (&v)[kVector<T>]) const {
#pragma unroll
    for (int e = 0; e < kVector<T>; ++e) v[e] = scale_shift_relu<T>(v[e], scale[e], shift[e]);
  }

 private:
  __device__ __forceinline__ static void load_row(const float* from, int valid,
                                                  float (&to)[kVector<T>]) {
    if (valid == kVector<T> && reinterpret_cast<uintptr_t>(from) % 16 == 0) {
#pragma unroll
      for (int i = 0; i < kVector<T>; i += 4) {
        const float4 four = *reinterpret_cast<const float4*>(from + i);
        to[i] = four.x, to[i + 1] = four.y, to[i + 2] = four.z, to[i + 3] = four.w;
      }
    } else {
#pragma unroll
      for (int e = 0; e < kVector<T>; ++e) to[e] = e < valid ? from[e] : 0.0f;
    }
  }
};

// wgrad's columns are (tap, channel), channels rounded up to whole vectors; a thread's vector stays
// the same while it walks over output pixels. The cursor is at one of them.
struct PixelCursor {
  int index, n, p, q;  // index: pixel counted through the batch

  __device__ __forceinline__ PixelCursor(int pixel, int P, int Q) : index(pixel) {
    const int row = pixel / Q;
    n = row / P;
    p = row - n * P;
    q = pixel - row * Q;
  }
  __device__ __forceinline__ void advance(int pixels, int P, int Q) {
    index += pixels;
    q += pixels;
    while (q >= Q) {
      q -= Q;
      if (++p == P) p = 0, ++n;
    }
  }
};

}  // namespace mono::conv2d_gpu
