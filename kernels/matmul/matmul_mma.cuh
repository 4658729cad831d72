// Variant `mma`: bf16 matrix product on tensor cores (sm_80 and later).
//
// A block computes a Tile x Tile tile of C with warps of 32 x 32 (Tile 64) or 64 x 32 (Tile 128).
// Slices of 32 terms of k come in by cp.async, kStages - 1 of them under way while one is
// multiplied; ldmatrix takes fragments out of shared memory, transposing where an operand is stored
// the other way round. Rows in shared memory are padded by 16 bytes, which spreads the eight rows
// of an 8x8 matrix over all banks. Traffic: A once per Tile columns, B once per Tile rows of C.
//
// Operands: bf16, base 16-byte aligned, leading dimension a multiple of 8 (the launcher sees to
// it).
#pragma once

#include "kernels/matmul/matmul.cuh"
#include "kernels/simt/instructions.cuh"

namespace mono {

template <int Tile>
struct MatmulMma {
  static constexpr int kK = 32, kStages = 4;
  static constexpr int kWarpM = Tile / 2, kWarpN = 32;
  static constexpr int kWarps = (Tile / kWarpM) * (Tile / kWarpN);
  static constexpr int kThreads = 32 * kWarps;
  // An operand's slice in shared memory: (Tile, kK), or (kK, Tile) where it is stored so.
  template <bool Transposed>
  struct Slice {
    static constexpr int kRows = Transposed ? kK : Tile, kColumns = Transposed ? Tile : kK;
    static constexpr int kPitch = kColumns + 8;
  };
  static constexpr int kSlice = Tile * (kK + 8);  // elements: room for either
  static constexpr size_t kShared = size_t{2} * kStages * kSlice * sizeof(bf16);
  static_assert(kK * (Tile + 8) <= kSlice);
};

// Starts the copy of one slice: terms [k_begin, k_begin + kK) of rows (or columns)
// [begin, begin + Tile). What lies outside becomes zero.
template <int Tile, bool Transposed>
__device__ __forceinline__ void matmul_mma_load(bf16* slice, const bf16* data, int64_t ld,
                                                int begin, int extent, int k_begin, int k_end) {
  using Shape = MatmulMma<Tile>;
  using Slice = typename Shape::template Slice<Transposed>;
  constexpr int kChunks = Slice::kColumns / 8;  // of 16 bytes, in a row
  const int row_begin = Transposed ? k_begin : begin, row_end = Transposed ? k_end : extent;
  const int column_begin = Transposed ? begin : k_begin, column_end = Transposed ? extent : k_end;
#pragma unroll
  for (int i = 0; i < Slice::kRows * kChunks / Shape::kThreads; ++i) {
    const int chunk = static_cast<int>(threadIdx.x) + Shape::kThreads * i;
    const int row = chunk / kChunks, column = chunk % kChunks * 8;
    const int inside = row_begin + row < row_end ? column_end - (column_begin + column) : 0;
    const int valid = 2 * min(max(inside, 0), 8);
    const bf16* from = data + (row_begin + row) * ld + column_begin + column;
    cp_async<16>(slice + row * Slice::kPitch + column, valid > 0 ? from : data, valid);
  }
}

// Grid: (tiles, splits). TransposedA: A is stored (K,M). TransposedB: B is stored (K,N), which is
// the problem's transpose_b == false: the instruction wants B by columns.
template <int Tile, bool TransposedA, bool TransposedB, class Out>
__global__ void __launch_bounds__(MatmulMma<Tile>::kThreads, 2)
    matmul_mma_kernel(int M, int N, int K, const bf16* a, int64_t lda, const bf16* b, int64_t ldb,
                      MatmulOutput<Out> out, MatmulSplit split) {
  using Shape = MatmulMma<Tile>;
  using SliceA = typename Shape::template Slice<TransposedA>;
  using SliceB = typename Shape::template Slice<TransposedB>;
  constexpr int kK = Shape::kK, kStages = Shape::kStages;
  constexpr int kTilesM = Shape::kWarpM / 16, kTilesN = Shape::kWarpN / 8;
  MONO_DYNAMIC_SHARED(bf16, slices);
  bf16* const slices_b = slices + kStages * Shape::kSlice;

  const int tiles_n = (N + Tile - 1) / Tile;
  const int m_begin = static_cast<int>(blockIdx.x) / tiles_n * Tile;
  const int n_begin = static_cast<int>(blockIdx.x) % tiles_n * Tile;
  const int k_begin = static_cast<int>(blockIdx.y) * split.k_each;
  const int k_end = min(K, k_begin + split.k_each);
  const int slice_count = (k_end - k_begin + kK - 1) / kK;
  const int lane = static_cast<int>(threadIdx.x) % 32, warp = static_cast<int>(threadIdx.x) / 32;
  const int warp_m = warp % 2 * Shape::kWarpM, warp_n = warp / 2 * Shape::kWarpN;
  const int row8 = lane % 8, matrix = lane / 8;  // whose address this lane gives to ldmatrix

  const auto load = [&](int index) {
    if (index < slice_count) {
      const int stage = index % kStages, k = k_begin + index * kK;
      matmul_mma_load<Tile, TransposedA>(slices + stage * Shape::kSlice, a, lda, m_begin, M, k,
                                         k_end);
      matmul_mma_load<Tile, TransposedB>(slices_b + stage * Shape::kSlice, b, ldb, n_begin, N, k,
                                         k_end);
    }
    cp_async_commit();  // an empty group too: the count of groups stays the count of slices
  };
  for (int i = 0; i < kStages - 1; ++i) load(i);

  float sum[kTilesM][kTilesN][4] = {};
  for (int index = 0; index < slice_count; ++index) {
    cp_async_wait<kStages - 2>();
    __syncthreads();  // the slice is here for all; and nobody reads the stage that is filled next
    load(index + kStages - 1);
    const bf16* slice_a = slices + index % kStages * Shape::kSlice;
    const bf16* slice_b = slices_b + index % kStages * Shape::kSlice;
#pragma unroll
    for (int k = 0; k < kK; k += 16) {
      uint32_t fragment_a[kTilesM][4], fragment_b[kTilesN][2];
#pragma unroll
      for (int i = 0; i < kTilesM; ++i) {
        const int m = warp_m + 16 * i + 8 * (matrix % 2), kk = k + 8 * (matrix / 2);
        if constexpr (TransposedA)
          ldmatrix_x4_trans(fragment_a[i], slice_a + (kk + row8) * SliceA::kPitch + m);
        else
          ldmatrix_x4(fragment_a[i], slice_a + (m + row8) * SliceA::kPitch + kk);
      }
#pragma unroll
      for (int j = 0; j < kTilesN; j += 2) {
        const int n = warp_n + 8 * (j + matrix / 2), kk = k + 8 * (matrix % 2);
        uint32_t pair[4];
        if constexpr (TransposedB)
          ldmatrix_x4_trans(pair, slice_b + (kk + row8) * SliceB::kPitch + n);
        else
          ldmatrix_x4(pair, slice_b + (n + row8) * SliceB::kPitch + kk);
        fragment_b[j][0] = pair[0], fragment_b[j][1] = pair[1];
        fragment_b[j + 1][0] = pair[2], fragment_b[j + 1][1] = pair[3];
      }
#pragma unroll
      for (int i = 0; i < kTilesM; ++i)
#pragma unroll
        for (int j = 0; j < kTilesN; ++j)
          mma_m16n8k16_bf16(sum[i][j], fragment_a[i], fragment_b[j]);
    }
  }
  cp_async_wait<0>();

#pragma unroll
  for (int i = 0; i < kTilesM; ++i)
#pragma unroll
    for (int j = 0; j < kTilesN; ++j)
#pragma unroll
      for (int r = 0; r < 4; r += 2) {  // registers 2 i and 2 i + 1 are neighbours
        const MmaM16N8K16::Position at = MmaM16N8K16::d(lane, r);
        const int m = m_begin + warp_m + 16 * i + at.row, n = n_begin + warp_n + 8 * j + at.column;
        if (m < M && n < N) split.store_pair(out, M, N, m, n, sum[i][j][r], sum[i][j][r + 1]);
      }
}

}  // namespace mono
