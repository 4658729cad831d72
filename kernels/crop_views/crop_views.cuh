// Views on the GPU: one thread a pixel of the output, all its channels, as in augment.cuh. A tile's
// 16 rows and 16 columns of taps are worked out once, by 32 of its threads; boxes are read straight
// from the planes, four bytes a channel, where neighbouring threads meet in the L1 cache.
#pragma once

#include "kernels/base/linear_resize.h"
#include "kernels/crop_views/crop_views.h"
#include "kernels/simt/pack.cuh"
#include "kernels/simt/unit_value.cuh"

namespace mono {

inline constexpr int kCropThreads = 256, kCropTile = 16;  // pixels a side of a block's tile

template <class T, int V>
__global__ void __launch_bounds__(kCropThreads, 3)
    crop_views_kernel(CropViewsProblem p, int tiles, const uint8_t* __restrict__ planes,
                      const CropView* __restrict__ views, const float* __restrict__ gain,
                      const float* __restrict__ shift, const float* __restrict__ mean,
                      const float* __restrict__ inv_std, T* __restrict__ out) {
  using M = Master<T>;
  using Taps = LinearTap[2 * kCropTile];
  MONO_SHARED(Taps, taps);
  const int P = p.P, C = p.C, last = P - 1, thread = static_cast<int>(threadIdx.x);
  const int tile = static_cast<int>(blockIdx.x % static_cast<unsigned>(tiles * tiles));
  const int m = static_cast<int>(blockIdx.x / static_cast<unsigned>(tiles * tiles));
  const int h0 = tile / tiles * kCropTile, w0 = tile % tiles * kCropTile;
  const CropView view = views[m];
  const bool transpose = view.dihedral & 4;
  if (thread < 2 * kCropTile) {
    // First the output's rows, then its columns; under a transposition rows come from columns.
    const bool across = thread >= kCropTile;
    const int at = min((across ? w0 : h0) + thread % kCropTile, last);
    const int i = view.dihedral & (across ? 1 : 2) ? last - at : at;
    taps[thread] = linear_tap(i, P, across != transpose ? view.w : view.h);
  }
  __syncthreads();
  // Warps 2 wide and 4 high, lanes 8 wide and 4 high.
  const int warp = thread / 32, lane = thread % 32;
  const int down = warp / 2 * 4 + lane / 8, right = warp % 2 * 8 + lane % 8;
  if (h0 + down >= P || w0 + right >= P) return;
  const LinearTap row = taps[transpose ? kCropTile + right : down];
  const LinearTap column = taps[transpose ? down : kCropTile + right];
  const int64_t plane = int64_t{p.H} * p.W, source = int64_t{view.image} * C;
  const uint8_t* box = planes + source * plane + int64_t{view.y} * p.W + view.x;
  const int first = row.first * p.W, second = row.second * p.W;
  T* const y = out + ((int64_t{m} * P + h0 + down) * P + w0 + right) * p.ldy;
  for (int begin = 0; begin < p.ldy; begin += V) {
    Pack<T, V> pack;
#pragma unroll
    for (int v = 0; v < V; ++v) {
      const int c = begin + v;
      M result = 0;
      if (c < C) {
        const uint8_t count = linear_pixel(
            row.first_weight, row.second_weight,
            linear_blend(column, box[first + column.first], box[first + column.second]),
            linear_blend(column, box[second + column.first], box[second + column.second]));
        const int64_t own = int64_t{m} * C + c;
        result = (unit_value<M>(count) * M(gain[own]) + M(shift[own]) - M(mean[source + c])) *
                 M(inv_std[source + c]);
        box += plane;
      }
      pack.value[v] = T(result);
    }
    store_pack<T, V>(y + begin, pack);
  }
}

}  // namespace mono
