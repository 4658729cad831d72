// Variant `implicit_gemm_halo`: implicit_gemm_mma for filters larger than 1x1 that keep the image's
// size with stride 1 (3x3, pad 1). There, every tap of a tile reads the same pixels, shifted; so
// they are copied and normalised once instead of once per tap.
//
// A tile's pixels are consecutive, and tap (a, b) reads the pixels (a*W + b) further on: all taps
// together read one run of rows + 2*pad*(W + 1) pixels. 32 channels of the run lie in shared
// memory, two such chunks in turn; the filter's vectors of one (chunk, tap) pass through three
// stages, and with each of them a part of the next chunk's run is copied. A tap whose pixel lies
// outside the image must not read its neighbour in the run: ldmatrix takes an address per row, and
// such a row reads a row of zeros.
//
// Traffic from L2 per pixel and column tile: (128 + 2*pad*(W + 1)) / 128 reads of x instead of R*S:
// 3.0 of 9 at W = 128, 1.5 at 32, 1.3 at 16; prologue likewise.
#pragma once

#include "kernels/conv2d/conv2d_implicit_gemm_mma.cuh"

namespace mono::conv2d_gpu {

constexpr int kMostHaloRun = 400;  // pixels of a run, for less than 100 KB of shared memory

template <class T>
MONO_HOST_DEVICE constexpr int halo_of(const Product<T>& p) {
  return p.pad * (p.W + 1);
}
template <class Shape>
constexpr size_t halo_shared_bytes(int halo) {
  const int run = Shape::kRows + 2 * halo;
  const size_t pipeline =
      sizeof(bf16) * Shape::kPitch * (1 + 2 * run + Shape::kStages * Shape::kColumns);
  return pipeline > Shape::kValuesBytes ? pipeline : Shape::kValuesBytes;
}

template <class Shape, class Epilogue>
__global__ void __launch_bounds__(Shape::kThreads, 2)
    implicit_gemm_halo_kernel(const Product<bf16> p, const Epilogue epilogue, int column_tiles) {
  constexpr int kDepth = Shape::kDepth, kPitch = Shape::kPitch, kStages = Shape::kStages;
  constexpr int kVectors = kDepth / 8, kRowStep = Shape::kThreads / kVectors;
  constexpr int kMyColumns = (Shape::kColumns + kRowStep - 1) / kRowStep;
  constexpr int kRowTiles = Shape::kWarpRows / 16, kColumnTiles = Shape::kWarpColumns / 8;
  MONO_DYNAMIC_SHARED(unsigned char, shared);

  const int thread = static_cast<int>(threadIdx.x);
  const int64_t unit = blockIdx.x / column_tiles;
  const int column0 = static_cast<int>(blockIdx.x % column_tiles) * Shape::kColumns;
  const PixelClass c = pixel_class(p, 0);
  const Tile tile = tile_at(p.offsets, p.segments, p.image_pixels(), c.H * c.W, Shape::kRows,
                            static_cast<int>(unit));
  const int taps = p.R * p.S, chunks = (p.padded_depth + kDepth - 1) / kDepth;
  const int steps = chunks * taps;

  const int halo = halo_of(p), run = Shape::kRows + 2 * halo;
  const int run_first = tile.first - halo;  // pixel of the batch
  const int batch_pixels = p.offsets[p.segments] * p.H * p.W;
  bf16* const zeros = reinterpret_cast<bf16*>(shared);
  bf16* const runs = zeros + kPitch;
  bf16* const filters = runs + 2 * run * kPitch;

  const int vector = thread % kVectors * 8, my_row = thread / kVectors;
  if (my_row == 0) {
    *reinterpret_cast<uint4*>(zeros + vector) = make_uint4(0, 0, 0, 0);
    if (vector == 0) *reinterpret_cast<uint4*>(zeros + kDepth) = make_uint4(0, 0, 0, 0);
  }

  // The run is copied in parts, one with each of the first taps - 1 taps of the chunk before.
  const int groups = (run + kRowStep - 1) / kRowStep, part = (groups + taps - 2) / (taps - 1);
  const auto is_pixel = [&](int row) {
    return row < run &&
           static_cast<unsigned>(run_first + row) < static_cast<unsigned>(batch_pixels);
  };
  const auto copy_run = [&](int chunk, int first_group, int last_group) {
    const int d = chunk * kDepth + vector;
    bf16* to = runs + chunk % 2 * run * kPitch + vector;
    for (int group = first_group; group < min(groups, last_group); ++group) {
      const int row = group * kRowStep + my_row;
      if (row >= run) break;
      const bool inside = is_pixel(row) && d < p.padded_depth;
      copy_vector(to + row * kPitch,
                  inside ? p.source + int64_t{run_first + row} * p.ld + d : p.source,
                  inside ? min(8, p.depth - d) : 0, p.source_vectors);
    }
  };
  const auto apply_prologue = [&](int chunk) {
    const int d = chunk * kDepth + vector;
    if (d >= p.padded_depth) return;
    VectorTables<bf16> tables;
    tables.load(p.scale, p.shift, int64_t{tile.segment} * p.depth + d, min(8, p.depth - d));
    bf16* at = runs + chunk % 2 * run * kPitch + vector;
    for (int row = my_row; row < run; row += kRowStep)
      if (is_pixel(row)) apply_in_place(at + row * kPitch, tables);
  };
  int filter_step = 0, filter_tap = 0, filter_d = vector;  // the next to copy
  const auto copy_filter = [&] {
    bf16* to = filters + (filter_step % kStages * Shape::kColumns + my_row) * kPitch + vector;
#pragma unroll
    for (int i = 0; i < kMyColumns; ++i) {
      const int column = my_row + i * kRowStep;
      if (filter_step >= steps || column >= Shape::kColumns) continue;
      const bool inside = column0 + column < p.columns && filter_d < p.padded_depth;
      const int64_t row = int64_t{column0 + column} * taps + filter_tap;
      copy_vector(to + i * kRowStep * kPitch,
                  inside ? p.filter + row * p.padded_depth + filter_d : p.filter, inside ? 8 : 0,
                  true);
    }
    ++filter_step;
    if (++filter_tap == taps) filter_tap = 0, filter_d += kDepth;
  };

  const int lane = thread % 32, warp = thread / 32;
  const int warp_row = warp % Shape::kWarpsDown * Shape::kWarpRows;
  const int warp_column = warp / Shape::kWarpsDown * Shape::kWarpColumns;
  const int b_at = (warp_column + lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 8;
  GatherRow rows[kRowTiles];  // whose addresses the lane gives
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
    rows[i] = GatherRow::of(p, c, tile, warp_row + 16 * i + lane % 16);
  float acc[kRowTiles][kColumnTiles][4] = {};

  copy_run(0, 0, groups);
  copy_filter();
  cp_async_commit();
  copy_filter();
  cp_async_commit();
  static_assert(kStages == 3);
  for (int step = 0, chunk = 0, a = 0, b = 0; step < steps; ++step) {
    const int tap = a * p.S + b;
    cp_async_wait<kStages - 2>();
    if (tap == 0 && p.scale) apply_prologue(chunk);
    __syncthreads();  // stage and run are complete, and nobody reads the ones before any more
    if (tap < taps - 1 && chunk + 1 < chunks) copy_run(chunk + 1, tap * part, (tap + 1) * part);
    copy_filter();
    cp_async_commit();

    const bf16* from[kRowTiles];
    const int dh = a * c.direction, dw = b * c.direction;
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i) {
      const int h = rows[i].h + dh, w = rows[i].w + dw;
      const bool inside = static_cast<unsigned>(h) < static_cast<unsigned>(p.H) &&
                          static_cast<unsigned>(w) < static_cast<unsigned>(p.W);
      const int row = warp_row + 16 * i + lane % 16 + halo + (c.h_tap + dh) * p.W + c.w_tap + dw;
      from[i] = (inside ? runs + (chunk % 2 * run + row) * kPitch : zeros) + lane / 16 * 8;
    }
    const bf16* filter = filters + step % kStages * Shape::kColumns * kPitch + b_at;
#pragma unroll
    for (int d = 0; d < kDepth; d += 16) {
      uint32_t x[kRowTiles][4], w[kColumnTiles / 2][4];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) ldmatrix_x4(x[i], from[i] + d);
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j) ldmatrix_x4(w[j], filter + j * 16 * kPitch + d);
      multiply<kRowTiles, kColumnTiles>(x, w, acc);
    }
    if (++b == p.S) b = 0, ++a;
    if (a == p.R) a = 0, ++chunk;
  }
  cp_async_wait<0>();
  __syncthreads();  // the pipeline's memory becomes the tile's

  float* values = reinterpret_cast<float*>(shared);
  store_accumulators<Shape>(acc, warp_row, warp_column, lane, values);
  __syncthreads();
  epilogue.template operator()<Shape::kColumns, Shape::kThreads>(p, c, tile, unit, column0, values);
}

}  // namespace mono::conv2d_gpu
