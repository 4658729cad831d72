// What follows a product on the GPU: a block has its accumulators as a tile (rows, columns) of
// floats in shared memory, at a pitch of tile_pitch(columns), and writes the destination with what
// goes with it, each thread two neighbouring channels of every few rows: a warp touches whole
// 32-byte sectors. Sums per tile and channel go to `units`, one float2 for each, and are merged by
// a second launch (merge_moments_kernel, merge_sums_kernel) in a fixed order, in double.
#pragma once

#include "kernels/conv2d/conv2d_tiles.cuh"

namespace mono::conv2d_gpu {

// Accumulators of an mma reach shared memory as pairs of rows 8 apart in banks: no conflicts for
// tiles of a multiple of 16 columns.
MONO_HOST_DEVICE constexpr int tile_pitch(int columns) {
  return columns + 8;
}

// How kThreads threads share a tile: each takes a pair of columns of every kGroups-th row.
template <int kColumns, int kThreads>
struct PairsOfColumns {
  static constexpr int kPairs = kColumns / 2, kGroups = kThreads / kPairs;
  int group, column;

  __device__ __forceinline__ PairsOfColumns()
      : group(static_cast<int>(threadIdx.x) / kPairs),
        column(static_cast<int>(threadIdx.x) % kPairs * 2) {}
  __device__ __forceinline__ bool takes_part() const { return group < kGroups; }
};

// fprop: y = accumulator; per tile and channel (mean, sum of squared deviations) of y as stored.
template <class T>
struct StoreOutput {
  T* y;
  int ld;
  bool pairs;     // y is aligned for pairs of channels
  float2* units;  // (tiles, columns); null: no moments

  template <int kColumns, int kThreads>
  __device__ __forceinline__ void operator()(const Product<T>& p, const PixelClass& c,
                                             const Tile& tile, int64_t unit, int column0,
                                             float* values) const {
    using Layout = PairsOfColumns<kColumns, kThreads>;
    constexpr int kGroups = Layout::kGroups;
    const Layout mine;
    const int column = column0 + mine.column;
    const bool both = column + 1 < p.columns;
    float2 origin = make_float2(0, 0), sum = origin, squares = origin;
    if (mine.takes_part() && column < p.columns) {
      const float* from = values + mine.column;
      if (mine.group < tile.rows) {  // shifted by the first value
        const float2 v = load_pair(from + mine.group * tile_pitch(kColumns), true, true);
        origin = make_float2(rounded<T>(v.x), rounded<T>(v.y));
      }
      for (int row = mine.group; row < tile.rows; row += kGroups) {
        const float2 v = load_pair(from + row * tile_pitch(kColumns), true, true);
        const int64_t pixel = destination_of(p, c, tile.first + row);
        store_pair(y + pixel * ld + column, v, pairs, both);
        const float dx = rounded<T>(v.x) - origin.x, dy = rounded<T>(v.y) - origin.y;
        sum = make_float2(sum.x + dx, sum.y + dy);
        squares = make_float2(fma(dx, dx, squares.x), fma(dy, dy, squares.y));
      }
    }
    if (!units) return;

    __syncthreads();  // the tile has been read: its memory takes the groups' (mean, m2)
    float2* partial = reinterpret_cast<float2*>(values);  // (kGroups, kColumns)
    const auto count = [&](int group) { return (tile.rows - group + kGroups - 1) / kGroups; };
    if (mine.takes_part() && mine.group < tile.rows) {
      const float n = static_cast<float>(count(mine.group));
      float2* to = partial + mine.group * kColumns + mine.column;
      to[0] = make_float2(origin.x + sum.x / n, max(0.0f, squares.x - sum.x * (sum.x / n)));
      to[1] = make_float2(origin.y + sum.y / n, max(0.0f, squares.y - sum.y * (sum.y / n)));
    }
    __syncthreads();
    const int mine_too = static_cast<int>(threadIdx.x);
    if (mine_too < kColumns && column0 + mine_too < p.columns) {
      float2 all = partial[mine_too];
      float n = static_cast<float>(count(0));
      for (int group = 1; group < kGroups && group < tile.rows; ++group) {  // Chan
        const float2 part = partial[group * kColumns + mine_too];
        const float m = static_cast<float>(count(group)), weight = m / (n + m);
        const float delta = part.x - all.x;
        all.x = fma(delta, weight, all.x);
        all.y += part.y + delta * delta * n * weight;
        n += m;
      }
      units[unit * p.columns + column0 + mine_too] = all;
    }
  }
};

// dgrad: mask, sums, multiply, dx overwritten or added to (ConvDgrad). Per tile and channel
// (sum dz, sum dz * (x - mean)).
template <class T, class GradT>
struct StoreInputGradient {
  const float* scale;  // of the mask, (segments, C); null: no mask, no sums
  const float* shift;
  const T* x;
  int ldx;
  bool x_pairs;
  const float* mean;  // (segments, mean_ld); null: no second sum
  int mean_ld;
  const float* multiply;  // (segments, C) or null
  GradT* dx;              // null: only the sums
  int lddx;
  bool dx_pairs;
  bool accumulate;
  float2* units;  // (tiles, C) or null

  template <int kColumns, int kThreads>
  __device__ __forceinline__ void operator()(const Product<T>& p, const PixelClass& c,
                                             const Tile& tile, int64_t unit, int column0,
                                             float* values) const {
    using Layout = PairsOfColumns<kColumns, kThreads>;
    constexpr int kGroups = Layout::kGroups, kAhead = 4;  // rows whose loads are under way at once
    const Layout mine;
    const int column = column0 + mine.column;
    const bool both = column + 1 < p.columns;
    float2 sum = make_float2(0, 0), sum_x = sum;
    if (mine.takes_part() && column < p.columns) {
      const int64_t table = int64_t{tile.segment} * p.columns + column;
      const auto entry = [&](const float* base, int64_t at, float otherwise) {
        if (!base) return make_float2(otherwise, otherwise);
        return make_float2(base[at], both ? base[at + 1] : otherwise);
      };
      const float2 a = entry(scale, table, 0), b = entry(shift, table, 1),
                   m = entry(mean, int64_t{tile.segment} * mean_ld + column, 0),
                   factor = entry(multiply, table, 1);
      for (int row0 = mine.group; row0 < tile.rows; row0 += kAhead * kGroups) {
        int64_t pixel[kAhead];
        float2 input[kAhead], before[kAhead];
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          const int row = row0 + i * kGroups;
          input[i] = before[i] = make_float2(0, 0);
          pixel[i] = 0;
          if (row >= tile.rows) continue;
          pixel[i] = destination_of(p, c, tile.first + row);
          if (scale) input[i] = load_pair(x + pixel[i] * ldx + column, x_pairs, both);
          if (dx && accumulate)
            before[i] = load_pair(dx + pixel[i] * lddx + column, dx_pairs, both);
        }
#pragma unroll
        for (int i = 0; i < kAhead; ++i) {
          const int row = row0 + i * kGroups;
          if (row >= tile.rows) continue;
          const float* from = values + row * tile_pitch(kColumns) + mine.column;
          float2 dz = load_pair(from, true, true);
          if (!(fma(a.x, input[i].x, b.x) > 0)) dz.x = 0;
          if (!(fma(a.y, input[i].y, b.y) > 0)) dz.y = 0;
          sum = make_float2(sum.x + dz.x, sum.y + dz.y);
          sum_x = make_float2(fma(dz.x, input[i].x - m.x, sum_x.x),
                              fma(dz.y, input[i].y - m.y, sum_x.y));
          if (dx)
            store_pair(
                dx + pixel[i] * lddx + column,
                make_float2(fma(factor.x, dz.x, before[i].x), fma(factor.y, dz.y, before[i].y)),
                dx_pairs, both);
        }
      }
    }
    if (!units) return;

    __syncthreads();                                      // as above
    float4* partial = reinterpret_cast<float4*>(values);  // (kGroups, pairs): both sums of both
    if (mine.takes_part())
      partial[mine.group * Layout::kPairs + mine.column / 2] =
          make_float4(sum.x, sum_x.x, sum.y, sum_x.y);
    __syncthreads();
    if (mine.group != 0 || column >= p.columns) return;
    float4 all = partial[mine.column / 2];
    for (int group = 1; group < kGroups; ++group) {
      const float4 part = partial[group * Layout::kPairs + mine.column / 2];
      all = make_float4(all.x + part.x, all.y + part.y, all.z + part.z, all.w + part.w);
    }
    float2* to = units + unit * p.columns + column;
    to[0] = make_float2(all.x, all.y);
    if (both) to[1] = make_float2(all.z, all.w);
  }
};

// ---- merging, preparation -----------------------------------------------------------------------

// A block of (kMergeChannels, kMergeLanes) threads for as many channels of a segment; each lane
// adds up a run of the segment's units in order, and the runs are added in one fixed order:
// neighbours within a warp, then warp by warp. Many lanes, because a run is a chain of loads from
// L2.
constexpr int kMergeChannels = 8, kMergeLanes = 64;
constexpr int kMergeThreads = kMergeChannels * kMergeLanes, kMergeWarps = kMergeThreads / 32;
using MergeRuns = double[kMergeWarps][kMergeChannels];

__device__ __forceinline__ double add_runs(MergeRuns& runs, double mine) {
  mine += __shfl_xor_sync(0xffffffffu, mine, 8);
  mine += __shfl_xor_sync(0xffffffffu, mine, 16);
  if (threadIdx.y % 4 == 0) runs[threadIdx.y / 4][threadIdx.x] = mine;
  __syncthreads();
  double sum = 0;
  for (int warp = 0; warp < kMergeWarps; ++warp) sum += runs[warp][threadIdx.x];
  __syncthreads();
  return sum;
}

struct UnitRange {
  int64_t begin, end;  // of the calling lane
  int64_t first, count;
};
// Units of a segment: `classes` for each of its tiles.
__device__ __forceinline__ UnitRange units_of(const int* offsets, int segment, int most_pixels,
                                              int tile_pixels, int classes) {
  int64_t first = 0, count = 0;
  for (int s = 0; s <= segment; ++s) {
    first += count;
    const int64_t pixels = int64_t{offsets[s + 1] - offsets[s]} * most_pixels;
    count = (pixels + tile_pixels - 1) / tile_pixels * classes;
  }
  const int64_t run = (count + kMergeLanes - 1) / kMergeLanes;
  const int64_t begin = min(count, run * threadIdx.y);
  return {first + begin, first + min(count, begin + run), first, count};
}

// Chan's rule for all units at once: mean = sum n_u mean_u / n, then
// m2 = sum m2_u + n_u (mean_u - mean)^2.
template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    merge_moments_kernel(const float2* units, int columns, const int* offsets, int image_pixels,
                         int tile_pixels, float* mean, float* variance, int ld) {
  MONO_SHARED(MergeRuns, runs);
  const int k = static_cast<int>(blockIdx.x * kMergeChannels + threadIdx.x);
  const int segment = static_cast<int>(blockIdx.y);
  const UnitRange range = units_of(offsets, segment, image_pixels, tile_pixels, 1);
  const int64_t pixels = int64_t{offsets[segment + 1] - offsets[segment]} * image_pixels;
  const auto count = [&](int64_t unit) {
    const int64_t left = pixels - (unit - range.first) * tile_pixels;
    return static_cast<double>(left < tile_pixels ? left : tile_pixels);
  };
  double sum = 0;
  if (k < columns)
#pragma unroll 4
    for (int64_t u = range.begin; u < range.end; ++u)
      sum += count(u) * static_cast<double>(units[u * columns + k].x);
  const double center = add_runs(runs, sum) / static_cast<double>(pixels);
  double m2 = 0;
  if (k < columns)
#pragma unroll 4
    for (int64_t u = range.begin; u < range.end; ++u) {
      const float2 unit = units[u * columns + k];
      const double delta = static_cast<double>(unit.x) - center;
      m2 += static_cast<double>(unit.y) + count(u) * delta * delta;
    }
  m2 = add_runs(runs, m2);
  if (k >= columns || threadIdx.y != 0) return;
  mean[int64_t{segment} * ld + k] = static_cast<float>(center);
  variance[int64_t{segment} * ld + k] = static_cast<float>(m2 / static_cast<double>(pixels));
}

template <class T>
__global__ void __launch_bounds__(kMergeThreads)
    merge_sums_kernel(const float2* units, int columns, const int* offsets, int most_pixels,
                      int tile_pixels, int classes, float* sum_dz, float* sum_dzx) {
  MONO_SHARED(MergeRuns, runs);
  const int k = static_cast<int>(blockIdx.x * kMergeChannels + threadIdx.x);
  const int segment = static_cast<int>(blockIdx.y);
  const UnitRange range = units_of(offsets, segment, most_pixels, tile_pixels, classes);
  double dz = 0, dzx = 0;
  if (k < columns)
#pragma unroll 4
    for (int64_t u = range.begin; u < range.end; ++u) {
      const float2 unit = units[u * columns + k];
      dz += static_cast<double>(unit.x);
      dzx += static_cast<double>(unit.y);
    }
  dz = add_runs(runs, dz);
  dzx = add_runs(runs, dzx);
  if (k >= columns || threadIdx.y != 0) return;
  if (sum_dz) sum_dz[int64_t{segment} * columns + k] = static_cast<float>(dz);
  if (sum_dzx) sum_dzx[int64_t{segment} * columns + k] = static_cast<float>(dzx);
}

// The filter (K,R,S,C) rounded to T and laid out for a product: rows of `padded` values, zero
// behind the last. fprop (K, R*S, C); dgrad, transposed, (C, R*S, K). A block turns 32 x 32.
template <class T>
__global__ void __launch_bounds__(256) pack_filter_kernel(const float* w, int K, int taps, int C,
                                                          bool transposed, int padded, T* out) {
  using Square = float[32][33];
  MONO_SHARED(Square, square);
  const int x = static_cast<int>(threadIdx.x), y = static_cast<int>(threadIdx.y);
  const int c0 = static_cast<int>(blockIdx.x) * 32, k0 = static_cast<int>(blockIdx.y) * 32;
  const int tap = static_cast<int>(blockIdx.z);
  for (int i = y; i < 32; i += 8) {
    const int k = k0 + i, c = c0 + x;
    square[i][x] = k < K && c < C ? w[(int64_t{k} * taps + tap) * C + c] : 0.0f;
  }
  __syncthreads();
  for (int i = y; i < 32; i += 8) {
    const int row = (transposed ? c0 : k0) + i, at = (transposed ? k0 : c0) + x;
    if (row < (transposed ? C : K) && at < padded)
      out[(int64_t{row} * taps + tap) * padded + at] = T(transposed ? square[x][i] : square[i][x]);
  }
}

// dgrad's prologue as a pass of its own, g = a*dy + (b*y + c): wgrad reads g as well, and the
// product reads it once per column tile and tap, as 2 bytes instead of the 6 of dy and y. A warp
// takes kProloguePixels pixels, each lane pairs of channels; g may be dy.
constexpr int kProloguePixels = 4, kPrologueThreads = 256;

template <class T, class GradT>
struct GradientPrologue {
  int64_t pixels;
  int K, image_pixels;
  const GradT* dy;
  int lddy;
  const T* y;
  int ldy;
  const float *a, *b, *c;  // (segments, K)
  const int* offsets;
  T* g;  // pitch K
  bool dy_pairs, y_pairs, g_pairs;
};

template <class T, class GradT>
__global__ void __launch_bounds__(kPrologueThreads)
    gradient_prologue_kernel(const GradientPrologue<T, GradT> p) {
  const int64_t warp =
      int64_t{blockIdx.x} * (kPrologueThreads / 32) + static_cast<int>(threadIdx.x) / 32;
  for (int i = 0; i < kProloguePixels; ++i) {
    const int64_t pixel = warp * kProloguePixels + i;
    if (pixel >= p.pixels) return;
    int64_t table = 0;
    for (int s = 1; pixel >= int64_t{p.offsets[s]} * p.image_pixels; ++s) table += p.K;
    for (int k = static_cast<int>(threadIdx.x) % 32 * 2; k < p.K; k += 64) {
      const bool both = k + 1 < p.K;
      float2 v = load_pair(p.dy + pixel * p.lddy + k, p.dy_pairs, both);
      if (p.a) {
        v.x *= p.a[table + k];
        if (both) v.y *= p.a[table + k + 1];
      }
      if (p.b) {
        const float2 y = load_pair(p.y + pixel * p.ldy + k, p.y_pairs, both);
        v.x += fma(p.b[table + k], y.x, p.c[table + k]);
        if (both) v.y += fma(p.b[table + k + 1], y.y, p.c[table + k + 1]);
      }
      store_pair(p.g + pixel * p.K + k, v, p.g_pairs, both);
    }
  }
}

}  // namespace mono::conv2d_gpu
