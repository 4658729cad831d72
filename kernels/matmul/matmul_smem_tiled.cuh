// Variant `smem_tiled`: f32 matrix product with fused multiply-adds, tiles in shared memory.
//
// A block computes a 64x64 tile of C; each of its 64 threads an 8x8 part in registers, which turns
// 16 loads from shared memory into 64 multiply-adds. The next 8 terms of k travel from global
// memory to registers while the current ones are multiplied, and enter the other of two buffers:
// one barrier per 8 terms. Traffic: A once per 64 columns, B once per 64 rows of C.
#pragma once

#include "kernels/matmul/matmul.cuh"

namespace mono {

struct SmemTiled {
  static constexpr int kTile = 64, kK = 8, kThreads = 64;
  static constexpr int kPitch = kTile + 4;  // rows of a tile stay 16-byte aligned
  using Buffer = float[2][kK][kPitch];
};

// kTile x kK elements of an operand in global memory, a kThreads-th of them per thread. Lanes run
// along whichever of the two directions is contiguous; what lies outside is zero.
class SmemTiledLoader {
 public:
  static constexpr int kEach = SmemTiled::kTile * SmemTiled::kK / SmemTiled::kThreads;

  __device__ SmemTiledLoader(const float* data, MatmulStrides strides, int begin, int extent)
      : data_(data), strides_(strides), begin_(begin), extent_(extent), along_k_(strides.k == 1) {}

  __device__ __forceinline__ void load(int k_begin, int k_end) {
#pragma unroll
    for (int i = 0; i < kEach; ++i) {
      const int k = k_begin + k_of(i), at = begin_ + outer_of(i);
      value_[i] = k < k_end && at < extent_ ? data_[at * strides_.outer + k * strides_.k] : 0.0f;
    }
  }
  __device__ __forceinline__ void store(float (&tile)[SmemTiled::kK][SmemTiled::kPitch]) const {
#pragma unroll
    for (int i = 0; i < kEach; ++i) tile[k_of(i)][outer_of(i)] = value_[i];
  }

 private:
  __device__ __forceinline__ int element(int i) const {
    return static_cast<int>(threadIdx.x) + SmemTiled::kThreads * i;
  }
  __device__ __forceinline__ int k_of(int i) const {
    return along_k_ ? element(i) % SmemTiled::kK : element(i) / SmemTiled::kTile;
  }
  __device__ __forceinline__ int outer_of(int i) const {
    return along_k_ ? element(i) / SmemTiled::kK : element(i) % SmemTiled::kTile;
  }

  const float* data_;
  MatmulStrides strides_;
  int begin_, extent_;
  bool along_k_;
  float value_[kEach];
};

// Grid: (tiles, splits). A thread's rows are m0..m0+3 and m0+32..m0+35, its columns likewise: so
// that a warp reads neighbouring 16 bytes from shared memory.
__global__ void __launch_bounds__(SmemTiled::kThreads, 6)
    matmul_smem_tiled_kernel(int M, int N, int K, const float* a, MatmulStrides sa, const float* b,
                             MatmulStrides sb, MatmulOutput<float> out, MatmulSplit split) {
  constexpr int kTile = SmemTiled::kTile, kK = SmemTiled::kK;
  MONO_SHARED(SmemTiled::Buffer, tile_a);
  MONO_SHARED(SmemTiled::Buffer, tile_b);
  const int tiles_n = (N + kTile - 1) / kTile;
  const int m_begin = static_cast<int>(blockIdx.x) / tiles_n * kTile;
  const int n_begin = static_cast<int>(blockIdx.x) % tiles_n * kTile;
  const int k_begin = static_cast<int>(blockIdx.y) * split.k_each;
  const int k_end = min(K, k_begin + split.k_each);

  SmemTiledLoader load_a(a, sa, m_begin, M), load_b(b, sb, n_begin, N);
  load_a.load(k_begin, k_end);
  load_b.load(k_begin, k_end);
  load_a.store(tile_a[0]);
  load_b.store(tile_b[0]);
  __syncthreads();

  const int m0 = static_cast<int>(threadIdx.x) / 8 * 4, n0 = static_cast<int>(threadIdx.x) % 8 * 4;
  float sum[8][8] = {};
  int buffer = 0;
  for (int k = k_begin; k < k_end; k += kK) {
    const bool more = k + kK < k_end;
    if (more) {
      load_a.load(k + kK, k_end);
      load_b.load(k + kK, k_end);
    }
#pragma unroll
    for (int kk = 0; kk < kK; ++kk) {
      float x[8], y[8];
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const float4 xs = *reinterpret_cast<const float4*>(&tile_a[buffer][kk][m0 + 32 * half]);
        const float4 ys = *reinterpret_cast<const float4*>(&tile_b[buffer][kk][n0 + 32 * half]);
        x[4 * half] = xs.x, x[4 * half + 1] = xs.y, x[4 * half + 2] = xs.z, x[4 * half + 3] = xs.w;
        y[4 * half] = ys.x, y[4 * half + 1] = ys.y, y[4 * half + 2] = ys.z, y[4 * half + 3] = ys.w;
      }
#pragma unroll
      for (int i = 0; i < 8; ++i)
#pragma unroll
        for (int j = 0; j < 8; ++j) sum[i][j] = fmaf(x[i], y[j], sum[i][j]);
    }
    if (more) {
      load_a.store(tile_a[buffer ^ 1]);
      load_b.store(tile_b[buffer ^ 1]);
    }
    buffer ^= 1;
    __syncthreads();
  }

#pragma unroll
  for (int i = 0; i < 8; ++i)
#pragma unroll
    for (int j = 0; j < 8; j += 2) {
      const int m = m_begin + m0 + i % 4 + 32 * (i / 4), n = n_begin + n0 + j % 4 + 32 * (j / 4);
      if (m < M && n < N) split.store_pair(out, M, N, m, n, sum[i][j], sum[i][j + 1]);
    }
}

}  // namespace mono
