// What the wgrad kernels share. dw is a product over pixels; they are cut into units fixed by the
// problem, each inside one segment. Every unit writes its own partial dw, and merge_wgrad_kernel
// adds the units in order: no atomics, the same bits every time.
#pragma once

#include "kernels/conv2d/conv2d_tiles.cuh"

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
};

template <class T>
__global__ void __launch_bounds__(256)
    merge_wgrad_kernel(const float* partial, int units, int64_t weights, bool accumulate,
                       float* dw) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= weights) return;
  double sum = accumulate ? static_cast<double>(dw[i]) : 0.0;
  for (int unit = 0; unit < units; ++unit) sum += static_cast<double>(partial[unit * weights + i]);
  dw[i] = static_cast<float>(sum);
}

}  // namespace mono::conv2d_gpu
