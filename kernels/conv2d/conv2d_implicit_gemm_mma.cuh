// Variant `implicit_gemm_mma`: bf16 on tensor cores (mma.sync m16n8k16, sm_80 and later), f32
// accumulators.
//
// cp.async carries the raw operands to shared memory, two steps of 32 terms ahead of the product;
// no register holds them meanwhile. The prologue is applied in shared memory, by the thread that
// had copied the vector: it may read what it copied itself as soon as cp.async.wait returns, before
// the barrier that lets ldmatrix read it. So a value is normalised once per tile and tap, and the
// same barrier serves both. Zero padding comes after the prologue: a vector outside the image is
// zeros from cp.async and stays so.
//
// Bank conflicts: ldmatrix reads 8 rows of 16 bytes at once, and shared memory has 8 such columns
// of banks. Every row of a stage is an odd number of 16-byte groups (5 in fprop and dgrad; 9 and 17
// in wgrad), so that 8 rows below each other lie in 8 different ones.
//
// Bound: 2 (rows * columns) / (rows + columns) FLOP per value from L2; in a dense block the HBM
// traffic of x (DESIGN section 3).
#pragma once

#include "kernels/conv2d/conv2d_epilogue.cuh"
#include "kernels/conv2d/conv2d_wgrad.cuh"
#include "kernels/simt/instructions.cuh"

namespace mono::conv2d_gpu {

// A block's tile, and that of each of its warps.
template <int Rows, int Columns, int WarpRows, int WarpColumns>
struct MmaTile {
  static constexpr int kRows = Rows, kColumns = Columns;
  static constexpr int kWarpRows = WarpRows, kWarpColumns = WarpColumns;
  static constexpr int kWarpsDown = Rows / WarpRows;
  static constexpr int kThreads = 32 * kWarpsDown * (Columns / WarpColumns);
  static constexpr int kStages = 3, kDepth = 32, kPitch = kDepth + 8;
  static constexpr int kStage = (Rows + Columns) * kPitch;  // values
  static constexpr size_t kPipelineBytes = sizeof(bf16) * kStages * kStage;
  static constexpr size_t kValuesBytes = sizeof(float) * Rows * tile_pitch(Columns);
  static constexpr size_t kSharedBytes =
      kPipelineBytes > kValuesBytes ? kPipelineBytes : kValuesBytes;
};

// 16 bytes of bf16 to shared memory; values from `valid` on are zeros. Asynchronous where both
// addresses are 16-byte aligned (`wide`).
__device__ __forceinline__ void copy_vector(bf16* to, const bf16* from, int valid, bool wide) {
  if (wide) {
    cp_async<16>(to, from, 2 * valid);
    return;
  }
  uint32_t words[4] = {0, 0, 0, 0};
#pragma unroll
  for (int e = 0; e < 8; ++e)
    if (e < valid) words[e / 2] |= static_cast<uint32_t>(from[e].bits) << (16 * (e % 2));
  *reinterpret_cast<uint4*>(to) = make_uint4(words[0], words[1], words[2], words[3]);
}

__device__ __forceinline__ void apply_in_place(bf16* vector, const VectorTables<bf16>& tables) {
  uint4* at = reinterpret_cast<uint4*>(vector);
  float v[8];
  unpack(*at, v);
  tables.apply(v);
  *at = pack(v);
}

// acc += A B over 16 terms: A's fragments from rows of pixels (ldmatrix as it is) or, in wgrad,
// from rows of the reduction (transposed), B's likewise.
template <int kRowTiles, int kColumnTiles>
__device__ __forceinline__ void multiply(const uint32_t (&a)[kRowTiles][4],
                                         const uint32_t (&b)[kColumnTiles / 2][4],
                                         float (&acc)[kRowTiles][kColumnTiles][4]) {
#pragma unroll
  for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
    for (int j = 0; j < kColumnTiles; ++j) {
      const uint32_t pair[2] = {b[j / 2][j % 2 * 2], b[j / 2][j % 2 * 2 + 1]};
      mma_m16n8k16_bf16(acc[i][j], a[i], pair);
    }
}

// A warp's accumulators to the tile that the epilogue reads.
template <class Shape>
__device__ __forceinline__ void store_accumulators(
    const float (&acc)[Shape::kWarpRows / 16][Shape::kWarpColumns / 8][4], int warp_row,
    int warp_column, int lane, float* values) {
#pragma unroll
  for (int i = 0; i < Shape::kWarpRows / 16; ++i)
#pragma unroll
    for (int j = 0; j < Shape::kWarpColumns / 8; ++j)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const MmaM16N8K16::Position at = MmaM16N8K16::d(lane, 2 * half);
        *reinterpret_cast<float2*>(
            values + (warp_row + 16 * i + at.row) * tile_pitch(Shape::kColumns) + warp_column +
            8 * j + at.column) = make_float2(acc[i][j][2 * half], acc[i][j][2 * half + 1]);
      }
}

template <class Shape, class Epilogue>
__global__ void __launch_bounds__(Shape::kThreads, 2)
    implicit_gemm_mma_kernel(const Product<bf16> p, const Epilogue epilogue, int column_tiles) {
  constexpr int kDepth = Shape::kDepth, kPitch = Shape::kPitch, kStages = Shape::kStages;
  constexpr int kVectors = kDepth / 8, kRowStep = Shape::kThreads / kVectors;
  constexpr int kMyRows = Shape::kRows / kRowStep;
  constexpr int kMyColumns = (Shape::kColumns + kRowStep - 1) / kRowStep;
  constexpr int kRowTiles = Shape::kWarpRows / 16, kColumnTiles = Shape::kWarpColumns / 8;
  MONO_DYNAMIC_SHARED(unsigned char, shared);
  bf16* const stages = reinterpret_cast<bf16*>(shared);

  const int classes = p.classes(), thread = static_cast<int>(threadIdx.x);
  const int64_t unit = blockIdx.x / column_tiles;
  const int column0 = static_cast<int>(blockIdx.x % column_tiles) * Shape::kColumns;
  const PixelClass c = pixel_class(p, static_cast<int>(unit % classes));
  const Tile tile = tile_at(p.offsets, p.segments, p.image_pixels(), c.H * c.W, Shape::kRows,
                            static_cast<int>(unit / classes));
  const int terms = tile.rows ? c.taps_r * c.taps_s * p.padded_depth : 0;
  const int steps = (terms + kDepth - 1) / kDepth;

  const int vector = thread % kVectors * 8, my_row = thread / kVectors;
  GatherRow rows[kMyRows];
#pragma unroll
  for (int i = 0; i < kMyRows; ++i) rows[i] = GatherRow::of(p, c, tile, my_row + i * kRowStep);
  TapCursor cursor;
  if (steps > 0) cursor.advance(vector, p.padded_depth, c.taps_s);
  int channel = cursor.d;  // of the step that is next in the product
  uint32_t hits = 0;  // which of my vectors lie in the image, kMyRows bits a step, newest lowest

  const auto copy_step = [&](int step) {
    hits <<= kMyRows;
    if (step < steps) {
      bf16* to = stages + step % kStages * Shape::kStage + my_row * kPitch + vector;
      const int valid = min(8, p.depth - cursor.d);
#pragma unroll
      for (int i = 0; i < kMyRows; ++i) {
        const bf16* from = rows[i].source(p, c, cursor);
        copy_vector(to + i * kRowStep * kPitch, from ? from : p.source, from ? valid : 0,
                    p.source_vectors);
        hits |= static_cast<uint32_t>(from != nullptr) << i;
      }
      to += Shape::kRows * kPitch;
#pragma unroll
      for (int i = 0; i < kMyColumns; ++i) {
        const int column = my_row + i * kRowStep;
        if (Shape::kColumns % kRowStep != 0 && column >= Shape::kColumns) continue;
        const bf16* from = filter_vector(p, c, column0 + column, cursor);
        copy_vector(to + i * kRowStep * kPitch, from ? from : p.filter, from ? 8 : 0, true);
      }
      cursor.advance(kDepth, p.padded_depth, c.taps_s);
    }
    cp_async_commit();
  };
  const auto apply_prologue = [&](int step) {
    const uint32_t mine = hits >> (kMyRows * (kStages - 2));
    bf16* at = stages + step % kStages * Shape::kStage + my_row * kPitch + vector;
    VectorTables<bf16> tables;
    tables.load(p.scale, p.shift, int64_t{tile.segment} * p.depth + channel,
                min(8, p.depth - channel));
#pragma unroll
    for (int i = 0; i < kMyRows; ++i)
      if (mine >> i & 1) apply_in_place(at + i * kRowStep * kPitch, tables);
    channel += kDepth;
    while (channel >= p.padded_depth) channel -= p.padded_depth;
  };

  const int lane = thread % 32, warp = thread / 32;
  const int warp_row = warp % Shape::kWarpsDown * Shape::kWarpRows;
  const int warp_column = warp / Shape::kWarpsDown * Shape::kWarpColumns;
  // Lane l's row for ldmatrix: of A the matrices are (rows 0-7, 8-15) of terms 0-7, then of 8-15;
  // of B (terms 0-7, 8-15) of columns 0-7, then of 8-15.
  const int a_at = (warp_row + lane % 16) * kPitch + lane / 16 * 8;
  const int b_at =
      (Shape::kRows + warp_column + lane / 16 * 8 + lane % 8) * kPitch + lane / 8 % 2 * 8;
  float acc[kRowTiles][kColumnTiles][4] = {};

#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) copy_step(step);
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    if (p.scale) apply_prologue(step);
    __syncthreads();  // the stage is complete, and nobody reads the previous one any more
    copy_step(step + kStages - 1);
    const bf16* stage = stages + step % kStages * Shape::kStage;
#pragma unroll
    for (int d = 0; d < kDepth; d += 16) {
      uint32_t a[kRowTiles][4], b[kColumnTiles / 2][4];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i) ldmatrix_x4(a[i], stage + a_at + i * 16 * kPitch + d);
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j)
        ldmatrix_x4(b[j], stage + b_at + j * 16 * kPitch + d);
      multiply<kRowTiles, kColumnTiles>(a, b, acc);
    }
  }
  cp_async_wait<0>();
  __syncthreads();  // the pipeline's memory becomes the tile's

  float* values = reinterpret_cast<float*>(shared);
  store_accumulators<Shape>(acc, warp_row, warp_column, lane, values);
  __syncthreads();
  epilogue.template operator()<Shape::kColumns, Shape::kThreads>(p, c, tile, unit, column0, values);
}

// wgrad: rows are output channels, columns (tap, channel), the reduction runs over pixels. Both
// operands lie in memory with channels along a row, so that a step is 32 pixels of g and of z, and
// ldmatrix transposes both. A thread copies the same columns of every 8th pixel; their scale and
// shift stay in its registers.
struct MmaWgradTile {
  static constexpr int kRows = 64, kColumns = 128, kWarpRows = 32, kWarpColumns = 64;
  static constexpr int kThreads = 128, kStages = 3, kDepth = 32;
  static constexpr int kPitchA = kRows + 8, kPitchB = kColumns + 8;
  static constexpr int kStage = kDepth * (kPitchA + kPitchB);  // values
  struct alignas(16) Stages {
    bf16 values[kStages * kStage];
  };
};

template <class T>
__global__ void __launch_bounds__(MmaWgradTile::kThreads)
    implicit_gemm_mma_wgrad_kernel(const WeightGradient<T> p, int column_tiles) {
  using Shape = MmaWgradTile;
  constexpr int kDepth = Shape::kDepth, kStages = Shape::kStages;
  constexpr int kVectorsA = Shape::kRows / 8, kVectorsB = Shape::kColumns / 8;
  constexpr int kPixelsA = Shape::kThreads / kVectorsA, kPixelsB = Shape::kThreads / kVectorsB;
  constexpr int kMine = kDepth / kPixelsB;  // vectors of z a thread copies
  constexpr int kRowTiles = Shape::kWarpRows / 16, kColumnTiles = Shape::kWarpColumns / 8;
  MONO_SHARED(typename Shape::Stages, stages);

  const int thread = static_cast<int>(threadIdx.x);
  const int k0 = static_cast<int>(blockIdx.x) / column_tiles * Shape::kRows;
  const int vector0 = static_cast<int>(blockIdx.x) % column_tiles * kVectorsB;
  const Tile unit = p.unit(static_cast<int>(blockIdx.y));
  const int end = unit.first + unit.rows, steps = (unit.rows + kDepth - 1) / kDepth;

  const int k_vector = thread % kVectorsA * 8, g_pixel = thread / kVectorsA;
  const int k_valid = max(0, min(8, p.K - k0 - k_vector));
  const int z_vector = thread % kVectorsB, z_pixel = thread / kVectorsB;
  const TapVector<T> column(p, vector0 + z_vector);
  VectorTables<T> tables{};
  if (p.scale && column.valid > 0)
    tables.load(p.scale, p.shift, int64_t{unit.segment} * p.C + column.c, column.valid);
  PixelCursor cursor(unit.first + z_pixel, p.P, p.Q);
  uint32_t hits = 0;  // as above

  const auto copy_step = [&](int step) {
    hits <<= kMine;
    if (step < steps) {
      bf16* to =
          stages.values + step % kStages * Shape::kStage + g_pixel * Shape::kPitchA + k_vector;
#pragma unroll
      for (int i = 0; i < kDepth; i += kPixelsA) {
        const int pixel = unit.first + step * kDepth + g_pixel + i;
        const int valid = pixel < end ? k_valid : 0;
        copy_vector(to + i * Shape::kPitchA,
                    valid ? p.g + int64_t{pixel} * p.ldg + k0 + k_vector : p.g, valid, p.g_vectors);
      }
      to = stages.values + step % kStages * Shape::kStage + kDepth * Shape::kPitchA +
           z_pixel * Shape::kPitchB + z_vector * 8;
#pragma unroll
      for (int i = 0; i < kMine; ++i) {
        const bf16* from = cursor.index < end ? column.source(p, cursor) : nullptr;
        copy_vector(to + i * kPixelsB * Shape::kPitchB, from ? from : p.x, from ? column.valid : 0,
                    p.x_vectors);
        hits |= static_cast<uint32_t>(from != nullptr) << i;
        cursor.advance(kPixelsB, p.P, p.Q);
      }
    }
    cp_async_commit();
  };
  const auto apply_prologue = [&](int step) {
    const uint32_t mine = hits >> (kMine * (kStages - 2));
    bf16* at = stages.values + step % kStages * Shape::kStage + kDepth * Shape::kPitchA +
               z_pixel * Shape::kPitchB + z_vector * 8;
#pragma unroll
    for (int i = 0; i < kMine; ++i)
      if (mine >> i & 1) apply_in_place(at + i * kPixelsB * Shape::kPitchB, tables);
  };

  const int lane = thread % 32, warp = thread / 32;
  const int warp_row = warp % 2 * Shape::kWarpRows, warp_column = warp / 2 * Shape::kWarpColumns;
  // Of A the matrices are (channels 0-7, 8-15) of pixels 0-7, then of 8-15; of B (pixels 0-7, 8-15)
  // of columns 0-7, then of 8-15; rows of each matrix are pixels.
  const int a_at = (lane / 16 * 8 + lane % 8) * Shape::kPitchA + warp_row + lane / 8 % 2 * 8;
  const int b_at =
      kDepth * Shape::kPitchA + lane % 16 * Shape::kPitchB + warp_column + lane / 16 * 8;
  float acc[kRowTiles][kColumnTiles][4] = {};

#pragma unroll
  for (int step = 0; step < kStages - 1; ++step) copy_step(step);
  for (int step = 0; step < steps; ++step) {
    cp_async_wait<kStages - 2>();
    if (p.scale) apply_prologue(step);
    __syncthreads();
    copy_step(step + kStages - 1);
    const bf16* stage = stages.values + step % kStages * Shape::kStage;
#pragma unroll
    for (int d = 0; d < kDepth; d += 16) {
      uint32_t a[kRowTiles][4], b[kColumnTiles / 2][4];
#pragma unroll
      for (int i = 0; i < kRowTiles; ++i)
        ldmatrix_x4_trans(a[i], stage + a_at + d * Shape::kPitchA + i * 16);
#pragma unroll
      for (int j = 0; j < kColumnTiles / 2; ++j)
        ldmatrix_x4_trans(b[j], stage + b_at + d * Shape::kPitchB + j * 16);
      multiply<kRowTiles, kColumnTiles>(a, b, acc);
    }
  }
  cp_async_wait<0>();

  float* out = p.partial + blockIdx.y * p.weights();
#pragma unroll
  for (int j = 0; j < kColumnTiles; ++j) {
    const TapVector<T> mine(p, vector0 + warp_column / 8 + j);
#pragma unroll
    for (int i = 0; i < kRowTiles; ++i)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const MmaM16N8K16::Position at = MmaM16N8K16::d(lane, r);
        const int k = k0 + warp_row + 16 * i + at.row;
        if (k < p.K && at.column < mine.valid)
          out[((int64_t{k} * p.R + mine.r) * p.S + mine.s) * p.C + mine.c + at.column] =
              acc[i][j][r];
      }
  }
}

}  // namespace mono::conv2d_gpu
