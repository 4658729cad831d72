// Augmentation on the GPU: one thread a pixel of the output, all its channels, which it stores in
// packs of 16 bytes (C = 6 at a pitch of 8 in bf16: one pack, padding included).
//
// A warp takes 8 x 4 pixels. In a row of 32, the elements of the dihedral group that transpose
// would read 32 rows of the plane a load; so they read 8, and the others 4.
#pragma once

#include "kernels/augment/source_row.h"
#include "kernels/simt/block_sum.cuh"
#include "kernels/simt/pack.cuh"
#include "kernels/simt/unit_value.cuh"

namespace mono {

inline constexpr int kAugmentThreads = 256, kAugmentTile = 16;  // pixels a side of a block's tile

// The thread's pixel in the block's tile: warps 2 wide and 4 high, lanes 8 wide and 4 high.
struct AugmentPixel {
  int h, w;
};
__device__ __forceinline__ AugmentPixel augment_pixel() {
  const int warp = static_cast<int>(threadIdx.x) / 32, lane = static_cast<int>(threadIdx.x) % 32;
  return {static_cast<int>(blockIdx.y) * kAugmentTile + warp / 2 * 4 + lane / 8,
          static_cast<int>(blockIdx.x) * kAugmentTile + warp % 2 * 8 + lane % 8};
}

template <class T, int V>
__global__ void __launch_bounds__(kAugmentThreads, 3)
    augment_kernel(AugmentProblem problem, const uint8_t* __restrict__ planes,
                   const AugmentImage* __restrict__ images, const float* __restrict__ mean,
                   const float* __restrict__ inv_std, T* __restrict__ out) {
  using M = Master<T>;
  const AugmentPixel pixel = augment_pixel();
  const int n = static_cast<int>(blockIdx.z), C = problem.C, P = problem.P;
  if (pixel.h >= P || pixel.w >= P) return;
  const AugmentImage image = images[n];
  const int64_t plane = int64_t{problem.H} * problem.W;
  const SourceRow own = source_row(P, problem.W, image, pixel.h);
  const int64_t own_at = int64_t{n} * C * plane + own.offset + pixel.w * own.step;
  const bool boxed = pixel.h >= image.box_y0 && pixel.h < image.box_y1 && pixel.w >= image.box_x0 &&
                     pixel.w < image.box_x1;
  const M mix = static_cast<M>(image.mix);
  int64_t other_at = 0;
  if (boxed || mix != M(1)) {
    const SourceRow other = source_row(P, problem.W, images[image.partner], pixel.h);
    other_at = int64_t{image.partner} * C * plane + other.offset + pixel.w * other.step;
  }
  const auto value = [&](int of, int64_t at, int c) {
    const int64_t table = int64_t{of} * C + c;
    return (unit_value<M>(planes[at + c * plane]) - M(mean[table])) * M(inv_std[table]);
  };
  T* const y = out + ((int64_t{n} * P + pixel.h) * P + pixel.w) * problem.ldy;
  for (int first = 0; first < problem.ldy; first += V) {
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int c = first + v;
      M result = 0;
      if (c < C) {
        result = boxed ? value(image.partner, other_at, c) : value(n, own_at, c);
        if (mix != M(1)) result = mix * result + (M(1) - mix) * value(image.partner, other_at, c);
      }
      pack.value[v] = T(result);
    }
    store_pack<T, V>(y + first, pack);
  }
}

// One block a plane. Threads read whole packs of V bytes that hold a piece of the crop's rows, and
// leave out the bytes beside it; sums are integers, so their order does not matter.
template <int V>
__global__ void __launch_bounds__(kAugmentThreads, 4)
    crop_statistics_kernel(AugmentProblem problem, const uint8_t* __restrict__ planes,
                           const AugmentImage* __restrict__ images, double* __restrict__ mean,
                           double* __restrict__ std) {
  using Sums = uint64_t[kAugmentThreads / 32];
  MONO_SHARED(Sums, shared);
  const int P = problem.P, plane = static_cast<int>(blockIdx.x);
  const AugmentImage& image = images[plane / problem.C];
  const int begin = image.crop_x, end = begin + P;
  const int first = begin / V, packs = (end + V - 1) / V - first;
  const uint8_t* const rows = planes + (int64_t{plane} * problem.H + image.crop_y) * problem.W;
  uint64_t sum = 0, sum_of_squares = 0;
#pragma unroll 2
  for (int i = static_cast<int>(threadIdx.x); i < P * packs; i += kAugmentThreads) {
    const int row = i / packs, x = (first + i - row * packs) * V;
    const Pack<uint8_t, V> bytes = load_pack<uint8_t, V>(rows + int64_t{row} * problem.W + x);
    uint32_t part = 0, part_of_squares = 0;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const uint32_t count = x + v >= begin && x + v < end ? bytes.value[v] : 0u;
      part += count;
      part_of_squares += count * count;
    }
    sum += part;
    sum_of_squares += part_of_squares;
  }
  sum = block_sum<kAugmentThreads>(sum, static_cast<uint64_t*>(shared));
  sum_of_squares = block_sum<kAugmentThreads>(sum_of_squares, static_cast<uint64_t*>(shared));
  if (threadIdx.x != 0) return;
  const uint64_t n = static_cast<uint64_t>(P) * static_cast<uint64_t>(P);
  const uint64_t scaled = n * sum_of_squares - sum * sum;
  mean[plane] = static_cast<double>(sum) / static_cast<double>(n);
  std[plane] =
      n > 1
          ? sqrt(static_cast<double>(scaled) / static_cast<double>(n) / static_cast<double>(n - 1))
          : 0.0;
}

template <class M>
__global__ void __launch_bounds__(kAugmentThreads)
    standardisation_kernel(int64_t n, const M* mean, const M* std, float* plane_mean,
                           float* plane_inv_std) {
  const int64_t i = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (i >= n) return;
  plane_mean[i] = static_cast<float>(mean[i] / 255);
  plane_inv_std[i] = static_cast<float>(1 / (std[i] / 255 + 1e-8));
}

}  // namespace mono
