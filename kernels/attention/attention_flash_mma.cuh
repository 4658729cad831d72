// Attention on the GPU, variant `flash_mma`: `flash` on tensor cores, bf16 (sm_80 and later).
//
// A block owns 64 tokens of a head, 16 for each of its four warps, and goes through the others in
// tiles of 64, of which the next comes in by cp.async while one is computed with (two buffers).
// Scores stay in registers: the accumulators of S = Q K^T, two 16 x 8 side by side, are laid out as
// the left operand of the second product wants it, so P and dS go from one instruction to the next
// without shared memory. Rows there are padded by 16 bytes: ldmatrix has no bank conflicts. Groups
// of 16 tokens beyond T are skipped.
//
// Forward: running maximum and sum, in units of log 2. Backward knows lse, so it needs no whole row
// and works on 16 of the others' tokens at a time. A kernel for dk and dv, whose blocks own keys
// and compute S^T and dP^T, and one for dq: each S and dP is computed twice, seven products for
// five, and in return nothing is added up across blocks. Traffic: as `flash`, once for every 64
// rows.
//
// D is head_dim rounded up to 32, 64 or 128. Operands: base 16-byte aligned, pitches a multiple
// of 8.
#pragma once

#include "kernels/attention/attention_naive.cuh"
#include "kernels/simt/instructions.cuh"
#include "kernels/simt/pack.cuh"

namespace mono {

template <int D>
struct AttentionMma {
  static constexpr int kTile = 64, kWarps = 4, kThreads = 32 * kWarps;
  static constexpr int kPitch = D + 8, kOperand = kTile * kPitch;  // elements
  static constexpr int kSteps = D / 16;                            // of a product over head_dim
  static constexpr int kColumns = D / 8;  // 8-column tiles of a sum over tokens
  // Fragments of the warp's own rows live in registers where these suffice.
  static constexpr bool kHold = D <= 64;
  static constexpr int kHeld = kHold ? kSteps : 1;
  static constexpr size_t kForwardShared = size_t{5} * kOperand * sizeof(bf16);
  static constexpr size_t kBackwardShared =
      size_t{6} * kOperand * sizeof(bf16) + size_t{4} * kTile * sizeof(float);
};

// Starts the copy of tokens [begin, begin + 64) of an operand of a head; what lies outside becomes
// zero.
template <int D>
__device__ __forceinline__ void attention_mma_load(bf16* tile, const bf16* x, int64_t ld, int begin,
                                                   const AttentionProblem& p) {
  using Shape = AttentionMma<D>;
  constexpr int kChunks = D / 8;  // of 16 bytes, in a row
#pragma unroll
  for (int i = 0; i < Shape::kTile * kChunks / Shape::kThreads; ++i) {
    const int chunk = static_cast<int>(threadIdx.x) + Shape::kThreads * i;
    const int row = chunk / kChunks, c = chunk % kChunks * 8;
    const bool inside = begin + row < p.T && c < p.head_dim;
    cp_async<16>(tile + row * Shape::kPitch + c, inside ? x + int64_t{begin + row} * ld + c : x,
                 inside ? 16 : 0);
  }
}

// The lane's address for ldmatrix_x4: 16 rows by 16 columns as a left operand, or transposed as a
// right operand that sums over the rows: (rows 0-7, columns 0-7), (8-15, 0-7), (0-7, 8-15), ...
template <int D>
__device__ __forceinline__ const bf16* attention_mma_left(const bf16* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8;
  return tile + (row + lane % 8 + 8 * (matrix % 2)) * AttentionMma<D>::kPitch + column +
         8 * (matrix / 2);
}
// As a right operand that sums over the columns: (0-7, 0-7), (0-7, 8-15), (8-15, 0-7), ...
template <int D>
__device__ __forceinline__ const bf16* attention_mma_right(const bf16* tile, int row, int column) {
  const int lane = static_cast<int>(threadIdx.x) % 32, matrix = lane / 8;
  return tile + (row + lane % 8 + 8 * (matrix / 2)) * AttentionMma<D>::kPitch + column +
         8 * (matrix % 2);
}

// scores (16, 16) += rows of `own` times tokens [row, row + 16) of `others`, over 16 elements.
template <int D>
__device__ __forceinline__ void attention_mma_scores(float (&left)[4], float (&right)[4],
                                                     const uint32_t (&own)[4], const bf16* others,
                                                     int row, int column) {
  uint32_t pair[4];
  ldmatrix_x4(pair, attention_mma_right<D>(others, row, column));
  const uint32_t first[2] = {pair[0], pair[1]}, second[2] = {pair[2], pair[3]};
  mma_m16n8k16_bf16(left, own, first);
  mma_m16n8k16_bf16(right, own, second);
}

// sum (16, D) += scores (16, 16) times tokens [row, row + 16) of `others`.
template <int D>
__device__ __forceinline__ void attention_mma_add(float (&sum)[AttentionMma<D>::kColumns][4],
                                                  const uint32_t (&scores)[4], const bf16* others,
                                                  int row) {
#pragma unroll
  for (int c = 0; c < AttentionMma<D>::kColumns; c += 2) {
    uint32_t pair[4];
    ldmatrix_x4_trans(pair, attention_mma_left<D>(others, row, 8 * c));
    const uint32_t first[2] = {pair[0], pair[1]}, second[2] = {pair[2], pair[3]};
    mma_m16n8k16_bf16(sum[c], scores, first);
    mma_m16n8k16_bf16(sum[c + 1], scores, second);
  }
}

// Two neighbouring 16 x 8 accumulators as a left operand.
__device__ __forceinline__ void attention_mma_operand(uint32_t (&a)[4], const float (&left)[4],
                                                      const float (&right)[4]) {
  a[0] = bf16_pair(left[0], left[1]);
  a[1] = bf16_pair(left[2], left[3]);
  a[2] = bf16_pair(right[0], right[1]);
  a[3] = bf16_pair(right[2], right[3]);
}

// The warp's rows of a sum, times the factor -> tokens from `begin` + row on. In whole 16 bytes by
// way of the warp's own 16 rows of `staging`; where it is added, in pairs, since it is rounded once
// only.
template <int D>
__device__ __forceinline__ void attention_mma_store(
    const float (&sum)[AttentionMma<D>::kColumns][4], float upper, float lower, bf16* staging,
    int row, bf16* to, int64_t ld, int begin, const AttentionProblem& p, bool add) {
  using Shape = AttentionMma<D>;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  __syncwarp();  // the rows' former content has been read
#pragma unroll
  for (int c = 0; c < Shape::kColumns; ++c)
#pragma unroll
    for (int i = 0; i < 4; i += 2) {
      const MmaM16N8K16::Position at = MmaM16N8K16::d(lane, i);
      const int r = row + at.row, column = 8 * c + at.column;
      const float factor = i == 0 ? upper : lower;
      const float first = factor * sum[c][i], second = factor * sum[c][i + 1];
      if (!add) {
        *reinterpret_cast<uint32_t*>(staging + r * Shape::kPitch + column) =
            bf16_pair(first, second);
      } else if (begin + r < p.T && column < p.head_dim) {
        bf16* const pair = to + int64_t{begin + r} * ld + column;
        const Pack<bf16, 2> before = load_pack<bf16, 2>(pair);
        *reinterpret_cast<uint32_t*>(pair) =
            bf16_pair(static_cast<float>(before.value[0]) + first,
                      static_cast<float>(before.value[1]) + second);
      }
    }
  if (add) return;
  __syncwarp();
  constexpr int kChunks = D / 8;
#pragma unroll
  for (int i = 0; i < 16 * kChunks / 32; ++i) {
    const int chunk = lane + 32 * i, r = row + chunk / kChunks, c = chunk % kChunks * 8;
    if (begin + r < p.T && c < p.head_dim)
      store_pack(to + int64_t{begin + r} * ld + c,
                 load_pack<bf16, 8>(staging + r * Shape::kPitch + c));
  }
}

inline constexpr float kAttentionLog2E = 1.44269504f, kAttentionLn2 = 0.693147181f;

template <int D>
__global__ void __launch_bounds__(AttentionMma<D>::kThreads, 2)
    attention_flash_mma_forward_kernel(AttentionProblem p, float scale,
                                       const bf16* __restrict__ qkv, bf16* out, float* lse) {
  using Shape = AttentionMma<D>;
  constexpr int kGroups = Shape::kTile / 16;
  MONO_DYNAMIC_SHARED(bf16, shared);
  bf16 *const q = shared, *const keys = q + Shape::kOperand,
              *const values = keys + 2 * Shape::kOperand;
  const int tiles = (p.T + Shape::kTile - 1) / Shape::kTile;
  const AttentionHead head(p, blockIdx.x / tiles);
  const int begin = static_cast<int>(blockIdx.x) % tiles * Shape::kTile;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(threadIdx.x) / 32 * 16;  // the warp's first
  const bool active = begin + row < p.T;
  const float scale_of_2 = scale * kAttentionLog2E;

  const auto load = [&](int tile) {
    const int stage = tile % 2 * Shape::kOperand;
    attention_mma_load<D>(keys + stage, qkv + head.k, p.ld_qkv, tile * Shape::kTile, p);
    attention_mma_load<D>(values + stage, qkv + head.v, p.ld_qkv, tile * Shape::kTile, p);
  };
  attention_mma_load<D>(q, qkv + head.q, p.ld_qkv, begin, p);
  load(0);
  cp_async_commit();

  uint32_t of_q[Shape::kSteps][4];
  float sum[Shape::kColumns][4] = {};
  float most[2] = {-INFINITY, -INFINITY}, total[2] = {0, 0};  // of rows lane / 4 and + 8
  for (int tile = 0; tile < tiles; ++tile) {
    cp_async_wait<0>();
    __syncthreads();  // the tile is here for all; and nobody reads the other buffer
    if (tile + 1 < tiles) load(tile + 1);
    cp_async_commit();
    if (!active) continue;
    if (tile == 0)
#pragma unroll
      for (int k = 0; k < Shape::kSteps; ++k)
        ldmatrix_x4(of_q[k], attention_mma_left<D>(q, row, 16 * k));
    const bf16* const k_tile = keys + tile % 2 * Shape::kOperand;
    const bf16* const v_tile = values + tile % 2 * Shape::kOperand;
    const int key = tile * Shape::kTile, inside = p.T - key;  // keys of the tile

    float scores[2 * kGroups][4] = {};
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
      if (16 * group < inside)
#pragma unroll
        for (int k = 0; k < Shape::kSteps; ++k)
          attention_mma_scores<D>(scores[2 * group], scores[2 * group + 1], of_q[k], k_tile,
                                  16 * group, 16 * k);
    float highest[2] = {most[0], most[1]};
#pragma unroll
    for (int j = 0; j < 2 * kGroups; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        if (inside < Shape::kTile && 8 * j + MmaM16N8K16::d(lane, i).column >= inside)
          scores[j][i] = -INFINITY;
        highest[i / 2] = max(highest[i / 2], scores[j][i]);
      }
#pragma unroll
    for (int half = 0; half < 2; ++half) {
      for (int lanes = 2; lanes > 0; lanes /= 2)  // the row's four lanes
        highest[half] = max(highest[half], __shfl_xor_sync(0xffffffffu, highest[half], lanes));
      const float shrink = exp2f(scale_of_2 * (most[half] - highest[half]));
      most[half] = highest[half];
      total[half] *= shrink;
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c)
        sum[c][2 * half] *= shrink, sum[c][2 * half + 1] *= shrink;
    }
#pragma unroll
    for (int j = 0; j < 2 * kGroups; ++j)
#pragma unroll
      for (int i = 0; i < 4; ++i) {
        scores[j][i] = exp2f(fma(scale_of_2, scores[j][i], -scale_of_2 * most[i / 2]));
        total[i / 2] += scores[j][i];
      }
#pragma unroll
    for (int group = 0; group < kGroups; ++group)
      if (16 * group < inside) {
        uint32_t prob[4];
        attention_mma_operand(prob, scores[2 * group], scores[2 * group + 1]);
        attention_mma_add<D>(sum, prob, v_tile, 16 * group);
      }
  }
  if (!active) return;
#pragma unroll
  for (int half = 0; half < 2; ++half) {
    for (int lanes = 2; lanes > 0; lanes /= 2)
      total[half] += __shfl_xor_sync(0xffffffffu, total[half], lanes);
    const int token = begin + row + lane / 4 + 8 * half;
    if (lse && lane % 4 == 0 && token < p.T)
      lse[head.lse + token] = fma(scale, most[half], log(total[half]));
  }
  attention_mma_store<D>(sum, 1 / total[0], 1 / total[1], q, row, out + head.out, p.ld_out, begin,
                         p, false);
}

// Keys: the block owns keys, its rows are those of P^T and dS^T, and it computes dk and dv. Else it
// owns queries, and computes dq and delta. Launched after it, Keys reads delta.
template <int D, bool Keys>
__global__ void __launch_bounds__(AttentionMma<D>::kThreads, 2)
    attention_flash_mma_backward_kernel(AttentionProblem p, float scale,
                                        const bf16* __restrict__ qkv, const bf16* __restrict__ out,
                                        const bf16* __restrict__ dout,
                                        const float* __restrict__ lse, float* delta, bf16* dqkv,
                                        bool accumulate) {
  using Shape = AttentionMma<D>;
  MONO_DYNAMIC_SHARED(bf16, shared);
  bf16* const own_a = shared;                             // K, or Q
  bf16* const own_b = own_a + Shape::kOperand;            // V, or dout
  bf16* const others_a = own_b + Shape::kOperand;         // Q, or K
  bf16* const others_b = others_a + 2 * Shape::kOperand;  // dout, or V
  float* const lse_of_queries = reinterpret_cast<float*>(others_b + 2 * Shape::kOperand);
  float* const delta_of_queries = lse_of_queries + 2 * Shape::kTile;
  const int tiles = (p.T + Shape::kTile - 1) / Shape::kTile;
  const AttentionHead head(p, blockIdx.x / tiles);
  const int begin = static_cast<int>(blockIdx.x) % tiles * Shape::kTile;
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int row = static_cast<int>(threadIdx.x) / 32 * 16;
  const bool active = begin + row < p.T;
  const float scale_of_2 = scale * kAttentionLog2E;

  const auto load_pair = [&](bool of_keys, bf16* a, bf16* b, int from) {
    attention_mma_load<D>(a, qkv + (of_keys ? head.k : head.q), p.ld_qkv, from, p);
    if (of_keys)
      attention_mma_load<D>(b, qkv + head.v, p.ld_qkv, from, p);
    else
      attention_mma_load<D>(b, dout + head.out, p.ld_out, from, p);
  };
  const auto load = [&](int tile) {
    const int stage = tile % 2, from = tile * Shape::kTile;
    load_pair(!Keys, others_a + stage * Shape::kOperand, others_b + stage * Shape::kOperand, from);
    if constexpr (Keys) {  // 64 threads for lse, 64 for delta
      const int i = static_cast<int>(threadIdx.x) % Shape::kTile;
      const bool first = static_cast<int>(threadIdx.x) < Shape::kTile, inside = from + i < p.T;
      const float* const table = (first ? lse : delta) + head.lse;
      cp_async<4>((first ? lse_of_queries : delta_of_queries) + stage * Shape::kTile + i,
                  inside ? table + from + i : table, inside ? 4 : 0);
    }
  };
  load_pair(Keys, own_a, own_b, begin);
  load(0);
  cp_async_commit();

  float own_lse[2] = {}, own_delta[2] = {};  // of queries lane / 4 and + 8; lse in units of log 2
  if constexpr (!Keys) {
    const int mine = static_cast<int>(threadIdx.x) / 2, token = begin + mine;  // two threads a row
    float sum = 0;
    if (token < p.T)
      for (int c = static_cast<int>(threadIdx.x) % 2 * 8; c < p.head_dim; c += 16) {
        const int64_t at = head.out + int64_t{token} * p.ld_out + c;
        const Pack<bf16, 8> y = load_pack<bf16, 8>(out + at), dy = load_pack<bf16, 8>(dout + at);
#pragma unroll
        for (int i = 0; i < 8; ++i)
          sum = fma(static_cast<float>(y.value[i]), static_cast<float>(dy.value[i]), sum);
      }
    sum += __shfl_xor_sync(0xffffffffu, sum, 1);
    if (threadIdx.x % 2 == 0) {
      delta_of_queries[mine] = sum;
      if (token < p.T) delta[head.lse + token] = sum;  // for the kernel that owns keys
    }
  }
  uint32_t of_a[Shape::kHeld][4], of_b[Shape::kHeld][4];
  float sum_a[Shape::kColumns][4] = {}, sum_b[Shape::kColumns][4] = {};
  for (int tile = 0; tile < tiles; ++tile) {
    cp_async_wait<0>();
    __syncthreads();
    if (tile + 1 < tiles) load(tile + 1);
    cp_async_commit();
    if (!active) continue;
    if (!Keys && tile == 0)
#pragma unroll
      for (int half = 0; half < 2; ++half) {
        const int mine = row + lane / 4 + 8 * half;
        own_delta[half] = delta_of_queries[mine];
        if (begin + mine < p.T) own_lse[half] = kAttentionLog2E * lse[head.lse + begin + mine];
      }
    if (Shape::kHold && tile == 0)
#pragma unroll
      for (int k = 0; k < Shape::kHeld; ++k) {
        ldmatrix_x4(of_a[k], attention_mma_left<D>(own_a, row, 16 * k));
        ldmatrix_x4(of_b[k], attention_mma_left<D>(own_b, row, 16 * k));
      }
    const bf16* const a = others_a + tile % 2 * Shape::kOperand;
    const bf16* const b = others_b + tile % 2 * Shape::kOperand;
    const float* const lse_tile = lse_of_queries + tile % 2 * Shape::kTile;
    const float* const delta_tile = delta_of_queries + tile % 2 * Shape::kTile;
    const int inside = p.T - tile * Shape::kTile;  // others in the tile

    for (int group = 0; group < Shape::kTile && group < inside; group += 16) {
      float prob[2][4] = {}, ds[2][4] = {};
#pragma unroll Shape::kHeld
      for (int k = 0; k < Shape::kSteps; ++k) {
        const int held = Shape::kHold ? k : 0;
        if constexpr (!Shape::kHold) {
          ldmatrix_x4(of_a[0], attention_mma_left<D>(own_a, row, 16 * k));
          ldmatrix_x4(of_b[0], attention_mma_left<D>(own_b, row, 16 * k));
        }
        attention_mma_scores<D>(prob[0], prob[1], of_a[held], a, group, 16 * k);
        attention_mma_scores<D>(ds[0], ds[1], of_b[held], b, group, 16 * k);
      }
#pragma unroll
      for (int j = 0; j < 2; ++j)
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          const int column = group + 8 * j + MmaM16N8K16::d(lane, i).column;
          const float shift = Keys ? kAttentionLog2E * lse_tile[column] : own_lse[i / 2];
          const float mean = Keys ? delta_tile[column] : own_delta[i / 2];
          const float value = exp2f(fma(scale_of_2, prob[j][i], -shift));
          prob[j][i] = column < inside ? value : 0.0f;
          ds[j][i] = prob[j][i] * (ds[j][i] - mean);
        }
      uint32_t operand[4];
      attention_mma_operand(operand, ds[0], ds[1]);
      attention_mma_add<D>(sum_a, operand, a, group);
      if constexpr (Keys) {
        attention_mma_operand(operand, prob[0], prob[1]);
        attention_mma_add<D>(sum_b, operand, b, group);
      }
    }
  }
  if (!active) return;
  attention_mma_store<D>(sum_a, scale, scale, own_a, row, dqkv + (Keys ? head.k : head.q), p.ld_qkv,
                         begin, p, accumulate);
  if constexpr (Keys)
    attention_mma_store<D>(sum_b, 1, 1, own_b, row, dqkv + head.v, p.ld_qkv, begin, p, accumulate);
}

}  // namespace mono
