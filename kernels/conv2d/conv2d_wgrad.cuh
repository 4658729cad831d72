// What the wgrad kernels share. dw is a product over pixels; they are cut into units fixed by the
// problem, each inside one segment. Every unit writes its own partial dw, and merge_wgrad_kernel
// adds the units in order: no atomics, the same bits every time.
#pragma once

#include "kernels/conv2d/conv2d_gather.cuh"

namespace mono::conv2d_gpu {

template <class T>
struct WeightGradient {
  const T* x;  // (N,H,W,C), pitch ldx
  int H, W, C, ldx;
  bool x_vectors;      // 16-byte aligned, and so is the pitch
  const float* scale;  // prologue on x, (segments, C); null: none
  const float* shift;
  const T* g;  // (N,P,Q,K), pitch ldg
  int P, Q, K, ldg;
  bool g_vectors;
  int R, S, stride, pad;
  const int* offsets;  // of the segments, in the GPU's memory
  int segments;
  int unit_pixels;
  float* partial;  // (units, K, R, S, C)

  __device__ __forceinline__ Tile unit(int index) const {
    return tile_at(offsets, segments, P * Q, P * Q, unit_pixels, index);
  }
  MONO_HOST_DEVICE int64_t weights() const { return int64_t{K} * R * S * C; }
  // Columns of the product: (tap, channel) with channels rounded up to whole vectors.
  MONO_HOST_DEVICE int channel_vectors() const { return (C + kVector<T> - 1) / kVector<T>; }
  MONO_HOST_DEVICE int column_vectors() const { return R * S * channel_vectors(); }
};

// A thread's vector of columns: eight (four) channels of one tap.
template <class T>
struct TapVector {
  int r, s, c;
  int valid;  // channels of it that exist; 0: beyond the last column

  __device__ __forceinline__ TapVector(const WeightGradient<T>& p, int vector) {
    const int in_tap = p.channel_vectors(), tap = vector / in_tap;
    r = tap / p.S;
    s = tap - r * p.S;
    c = (vector - tap * in_tap) * kVector<T>;
    valid = tap < p.R * p.S ? min(kVector<T>, p.C - c) : 0;
  }
  // Of x at an output pixel, which must be inside the unit; null where it is padding.
  __device__ __forceinline__ const T* source(const WeightGradient<T>& p,
                                             const PixelCursor& at) const {
    const int h = at.p * p.stride + r - p.pad, w = at.q * p.stride + s - p.pad;
    const bool inside = valid > 0 && static_cast<unsigned>(h) < static_cast<unsigned>(p.H) &&
                        static_cast<unsigned>(w) < static_cast<unsigned>(p.W);
    return inside ? p.x + ((int64_t{at.n} * p.H + h) * p.W + w) * p.ldx + c : nullptr;
  }
};

template <class T>
__global__ void __launch_bounds__(256)
    merge_wgrad_kernel(const float* partial, int units, int64_t weights, bool accumulate,
                       float* dw) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= weights) return;
  double sum = accumulate ? static_cast<double>(dw[i]) : 0.0;
#pragma unroll 8
  for (int unit = 0; unit < units; ++unit) sum += static_cast<double>(partial[unit * weights + i]);
  dw[i] = static_cast<float>(sum);
}

}  // namespace mono::conv2d_gpu
