// Variant `smem_tiled`: blocks of 128 pixels x 64 channels; both operands pass through shared
// memory 16 terms at a time, transposed so that each thread reads its 8 + 4 operands of a term as
// three float4, for 32 FMA. The next step's values travel to registers while this one computes, and
// get the prologue on their way to shared memory: once per tile, not once per tap and channel.
//
// Traffic: x is read once per 64 output channels and tap (mostly from L2), weights once per 128
// pixels. Bound: FFMA, 2 FLOP a lane and clock (67 TFLOP/s on H100). Sums are made in blocks of 128
// terms, which are then added up: half the rounding error of one chain.
#pragma once

#include "kernels/conv2d/conv2d_epilogue.cuh"
#include "kernels/conv2d/conv2d_wgrad.cuh"

namespace mono::conv2d_gpu {

struct SmemTile {
  static constexpr int kRows = 128, kColumns = 64, kDepth = 16, kThreads = 256;
  static constexpr int kThreadRows = 8, kThreadColumns = 4;
  static constexpr int kBlockSteps = 128 / kDepth;  // of a partial sum
  // Multiples of 4 for float4. A vector is stored as 4 (8) scalars to as many rows: pitches of 4
  // modulo 32 leave at most two of a warp's lanes in a bank.
  static constexpr int kPitchA = kRows + 4, kPitchB = kColumns + 4;
  static constexpr int kStage = kDepth * (kPitchA + kPitchB);
  static constexpr int kSharedFloats = 2 * kStage > kRows* tile_pitch(kColumns)
                                           ? 2 * kStage
                                           : kRows* tile_pitch(kColumns);
};

// acc += a b over one stage.
__device__ __forceinline__ void smem_tile_product(const float* stage, int row, int column,
                                                  float (&acc)[8][4]) {
  using Shape = SmemTile;
  const float* a = stage + row;
  const float* b = stage + Shape::kDepth * Shape::kPitchA + column;
#pragma unroll
  for (int d = 0; d < Shape::kDepth; ++d) {
    const float4 a0 = *reinterpret_cast<const float4*>(a + d * Shape::kPitchA);
    const float4 a1 = *reinterpret_cast<const float4*>(a + d * Shape::kPitchA + 4);
    const float4 b0 = *reinterpret_cast<const float4*>(b + d * Shape::kPitchB);
    const float rows[8] = {a0.x, a0.y, a0.z, a0.w, a1.x, a1.y, a1.z, a1.w};
#pragma unroll
    for (int i = 0; i < 8; ++i) {
      acc[i][0] = fma(rows[i], b0.x, acc[i][0]);
      acc[i][1] = fma(rows[i], b0.y, acc[i][1]);
      acc[i][2] = fma(rows[i], b0.z, acc[i][2]);
      acc[i][3] = fma(rows[i], b0.w, acc[i][3]);
    }
  }
}

template <class T, class Epilogue>
__global__ void __launch_bounds__(SmemTile::kThreads, 1)
    smem_tiled_kernel(const Product<T> p, const Epilogue epilogue, int column_tiles) {
  using Shape = SmemTile;
  constexpr int kDepth = Shape::kDepth, kV = kVector<T>, kVectors = kDepth / kV;
  constexpr int kRowStep = Shape::kThreads / kVectors;  // rows between a thread's vectors
  constexpr int kMyRows = Shape::kRows / kRowStep;      // 2 (f32) or 1 (bf16)
  MONO_DYNAMIC_SHARED(float, shared);
  const int classes = p.classes(), thread = static_cast<int>(threadIdx.x);
  const int64_t unit = blockIdx.x / column_tiles;
  const int column0 = static_cast<int>(blockIdx.x % column_tiles) * Shape::kColumns;
  const PixelClass c = pixel_class(p, static_cast<int>(unit % classes));
  const Tile tile = tile_at(p.offsets, p.segments, p.image_pixels(), c.H * c.W, Shape::kRows,
                            static_cast<int>(unit / classes));
  const int terms = tile.rows ? c.taps_r * c.taps_s * p.padded_depth : 0;
  const int steps = (terms + kDepth - 1) / kDepth;

  const int vector = thread % kVectors * kV, my_row = thread / kVectors;
  const bool loads_filter = my_row < Shape::kColumns;
  GatherRow rows[kMyRows];
#pragma unroll
  for (int i = 0; i < kMyRows; ++i) rows[i] = GatherRow::of(p, c, tile, my_row + i * kRowStep);
  const int64_t table = int64_t{tile.segment} * p.depth;
  TapCursor cursor;
  if (steps > 0) cursor.advance(vector, p.padded_depth, c.taps_s);

  float a[kMyRows][kV], b[kV];  // the coming step's
  const auto load = [&] {
    const int valid = min(kV, p.depth - cursor.d);
    bool hit[kMyRows];
#pragma unroll
    for (int i = 0; i < kMyRows; ++i) {
      const T* from = rows[i].source(p, c, cursor);
      hit[i] = from != nullptr;
      load_vector(from, from ? valid : 0, p.source_vectors, a[i]);
    }
    if (p.scale) {
      VectorTables<T> tables;
      tables.load(p.scale, p.shift, table + cursor.d, valid);
#pragma unroll
      for (int i = 0; i < kMyRows; ++i)
        if (hit[i]) tables.apply(a[i]);
    }
    const T* from = loads_filter ? filter_vector(p, c, column0 + my_row, cursor) : nullptr;
    load_vector(from, from ? kV : 0, true, b);
    cursor.advance(kDepth, p.padded_depth, c.taps_s);
  };
  const auto store = [&](int stage) {
    float* to = shared + stage * Shape::kStage + vector * Shape::kPitchA + my_row;
#pragma unroll
    for (int i = 0; i < kMyRows; ++i)
#pragma unroll
      for (int e = 0; e < kV; ++e) to[e * Shape::kPitchA + i * kRowStep] = a[i][e];
    if (!loads_filter) return;
    to =
        shared + stage * Shape::kStage + kDepth * Shape::kPitchA + vector * Shape::kPitchB + my_row;
#pragma unroll
    for (int e = 0; e < kV; ++e) to[e * Shape::kPitchB] = b[e];
  };

  const int row = thread / 16 * Shape::kThreadRows, column = thread % 16 * Shape::kThreadColumns;
  float acc[8][4] = {}, total[8][4] = {};
  if (steps > 0) {
    load();
    store(0);
  }
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) load();
    smem_tile_product(shared + step % 2 * Shape::kStage, row, column, acc);
    if (step % Shape::kBlockSteps == Shape::kBlockSteps - 1) {
#pragma unroll
      for (int i = 0; i < 32; ++i) {
        total[i / 4][i % 4] += acc[i / 4][i % 4];
        acc[i / 4][i % 4] = 0;
      }
    }
    if (step + 1 < steps) store((step + 1) % 2);
    __syncthreads();
  }

  float* values = shared;
#pragma unroll
  for (int i = 0; i < 8; ++i)
    *reinterpret_cast<float4*>(values + (row + i) * tile_pitch(Shape::kColumns) + column) =
        make_float4(total[i][0] + acc[i][0], total[i][1] + acc[i][1], total[i][2] + acc[i][2],
                    total[i][3] + acc[i][3]);
  __syncthreads();
  epilogue.template operator()<Shape::kColumns, Shape::kThreads>(p, c, tile, unit, column0, values);
}

// wgrad: 64 output channels x 64 columns (tap, channel), 16 pixels at a time. Both operands lie in
// memory as the product wants them, channels along a row: no transposition.
struct SmemWgradTile {
  static constexpr int kRows = 64, kColumns = 64, kDepth = 16, kThreads = 256;
  static constexpr int kPitch = 64 + 4;
  using Stages = float[2][2][kDepth * kPitch];
};

template <class T>
__global__ void __launch_bounds__(SmemWgradTile::kThreads)
    smem_tiled_wgrad_kernel(const WeightGradient<T> p, int column_tiles) {
  using Shape = SmemWgradTile;
  constexpr int kDepth = Shape::kDepth, kV = kVector<T>, kVectors = 64 / kV;
  MONO_SHARED(typename Shape::Stages, stages);
  const int thread = static_cast<int>(threadIdx.x);
  const int k0 = static_cast<int>(blockIdx.x) / column_tiles * Shape::kRows;
  const int vector0 = static_cast<int>(blockIdx.x) % column_tiles * kVectors;
  const Tile unit = p.unit(static_cast<int>(blockIdx.y));
  const int end = unit.first + unit.rows, steps = (unit.rows + kDepth - 1) / kDepth;

  const int vector = thread % kVectors, my_pixel = thread / kVectors;
  const bool loads = my_pixel < kDepth;
  const TapVector<T> column(p, vector0 + vector);
  const int k = k0 + vector * kV, k_valid = max(0, min(kV, p.K - k));
  VectorTables<T> tables{};
  if (p.scale && column.valid > 0)
    tables.load(p.scale, p.shift, int64_t{unit.segment} * p.C + column.c, column.valid);
  PixelCursor cursor(unit.first + my_pixel, p.P, p.Q);

  float a[kV], b[kV];
  const auto load = [&] {
    const bool inside = loads && cursor.index < end;
    load_vector(p.g + int64_t{cursor.index} * p.ldg + k, inside ? k_valid : 0, p.g_vectors, a);
    const T* from = inside ? column.source(p, cursor) : nullptr;
    load_vector(from, from ? column.valid : 0, p.x_vectors, b);
    if (from && p.scale) tables.apply(b);
    cursor.advance(kDepth, p.P, p.Q);
  };
  const auto store = [&](int stage) {
    if (!loads) return;
    const int at = my_pixel * Shape::kPitch + vector * kV;
#pragma unroll
    for (int e = 0; e < kV; e += 4) {
      *reinterpret_cast<float4*>(stages[stage][0] + at + e) =
          make_float4(a[e], a[e + 1], a[e + 2], a[e + 3]);
      *reinterpret_cast<float4*>(stages[stage][1] + at + e) =
          make_float4(b[e], b[e + 1], b[e + 2], b[e + 3]);
    }
  };

  const int row = thread / 16 * 4, col = thread % 16 * 4;
  float acc[4][4] = {};
  if (steps > 0) {
    load();
    store(0);
  }
  __syncthreads();
  for (int step = 0; step < steps; ++step) {
    if (step + 1 < steps) load();
#pragma unroll
    for (int d = 0; d < kDepth; ++d) {
      const float4 g =
          *reinterpret_cast<const float4*>(stages[step % 2][0] + d * Shape::kPitch + row);
      const float4 z =
          *reinterpret_cast<const float4*>(stages[step % 2][1] + d * Shape::kPitch + col);
      const float rows[4] = {g.x, g.y, g.z, g.w};
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        acc[i][0] = fma(rows[i], z.x, acc[i][0]);
        acc[i][1] = fma(rows[i], z.y, acc[i][1]);
        acc[i][2] = fma(rows[i], z.z, acc[i][2]);
        acc[i][3] = fma(rows[i], z.w, acc[i][3]);
      }
    }
    if (step + 1 < steps) store((step + 1) % 2);
    __syncthreads();
  }

  // Four neighbouring columns lie in one vector, so in one tap.
  const TapVector<T> mine(p, vector0 + col / kV);
  const int c = mine.c + col % kV;
  float* out = p.partial + blockIdx.y * p.weights();
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    if (mine.valid == 0 || k0 + row + i >= p.K) continue;
    float* to = out + ((int64_t{k0 + row + i} * p.R + mine.r) * p.S + mine.s) * p.C + c;
#pragma unroll
    for (int j = 0; j < 4; ++j)
      if (c + j < p.C) to[j] = acc[i][j];
  }
}

}  // namespace mono::conv2d_gpu
