// Host side, shared by conv2d.cu and conv2d_library.cu.
#pragma once

#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/conv2d_epilogue.cuh"

namespace mono::conv2d_gpu {

// Whether rows of pitch ld can be read `bytes` at a time.
template <class T>
bool aligned_to(size_t bytes, const T* base, int ld) {
  return reinterpret_cast<uintptr_t>(base) % bytes == 0 && ld * sizeof(T) % bytes == 0;
}

// Of merge_moments_kernel and merge_sums_kernel.
inline LaunchShape merge_shape(int columns, int segments) {
  return {dim3(blocks_for(columns, kMergeChannels), segments), dim3(kMergeChannels, kMergeLanes),
          0};
}

// g (pitch K) = dgrad's prologue of dy.
template <class T, class GradT>
void launch_gradient_prologue(Stream stream, const ConvProblem& p, const ConvDgrad<T, GradT>& args,
                              T* g) {
  const int64_t pixels = int64_t{p.N} * p.P() * p.Q();
  const GradientPrologue<T, GradT> prologue{
      .pixels = pixels,
      .K = p.K,
      .image_pixels = p.P() * p.Q(),
      .dy = args.dy,
      .lddy = args.lddy,
      .y = args.y,
      .ldy = p.ldy,
      .a = args.a,
      .b = args.b,
      .c = args.c,
      .offsets = args.segments.gpu_offsets,
      .g = g,
      .dy_pairs = aligned_to(2 * sizeof(GradT), args.dy, args.lddy),
      .y_pairs = aligned_to(2 * sizeof(T), args.y, p.ldy),
      .g_pairs = aligned_to(2 * sizeof(T), g, p.K)};
  launch<gradient_prologue_kernel<T, GradT>>(
      stream, {blocks_for(pixels, kProloguePixels * kPrologueThreads / 32), kPrologueThreads},
      prologue);
}

}  // namespace mono::conv2d_gpu
