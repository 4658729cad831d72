// Attention on the GPU, variant `flash`: 32 x 32 tiles of scores, made, used and forgotten in
// shared memory; fused multiply-adds in float, any of f32 and bf16.
//
// A block owns 32 tokens of a head (queries forward and for dq, keys for dk and dv) and goes
// through the others a tile at a time. Its 64 threads form 8 x 8: a thread computes 4 rows by 4
// columns of scores, and 4 rows by D / 8 columns of sums, from float4 loads. Rows in shared memory
// are padded by 16 bytes, so that the 8 columns' rows lie in different banks. Forward keeps a
// running maximum and sum for each row and rescales what it has when the maximum grows; backward
// knows lse. Traffic: the block's rows once, the others' rows once for every 32 rows (from L2).
//
// D is head_dim rounded up to 32, 64 or 128; what lies outside counts as zero.
#pragma once

#include "kernels/attention/attention_naive.cuh"
#include "kernels/simt/pack.cuh"

namespace mono {

template <int D>
struct AttentionFlash {
  static constexpr int kTile = 32, kSide = 8, kThreads = kSide * kSide;
  static constexpr int kColumns = D / kSide;     // of sums, of a thread
  static constexpr int kPitch = D + 4;           // of operands
  static constexpr int kScorePitch = kTile + 4;  // of scores
  static constexpr int kOperand = kTile * kPitch, kScores = kTile * kScorePitch;  // floats
  static constexpr size_t kForwardShared = (3 * kOperand + kScores) * sizeof(float);
  static constexpr size_t kBackwardShared = (4 * kOperand + 2 * kScores) * sizeof(float);
};

// Where a thread stands: rows row0 .. row0 + 3; columns of scores x, x + 8, ...; columns of sums
// 4 x .. 4 x + 3, 32 further, ...
struct AttentionFlashPlace {
  int x, row0;
  __device__ __forceinline__ AttentionFlashPlace()
      : x(static_cast<int>(threadIdx.x) % 8), row0(static_cast<int>(threadIdx.x) / 8 * 4) {}
};

// Tokens [begin, begin + 32) of an operand of a head, as floats.
template <int D, class T>
__device__ __forceinline__ void attention_flash_load(float* tile, const T* x, int64_t ld, int begin,
                                                     const AttentionProblem& p) {
  using Shape = AttentionFlash<D>;
  for (int i = static_cast<int>(threadIdx.x); i < Shape::kTile * D; i += Shape::kThreads) {
    const int row = i / D, c = i % D;
    const bool inside = begin + row < p.T && c < p.head_dim;
    tile[row * Shape::kPitch + c] =
        inside ? static_cast<float>(x[int64_t{begin + row} * ld + c]) : 0.0f;
  }
}

// scores[i][j] = row i of a times row j of b.
template <int D>
__device__ __forceinline__ void attention_flash_scores(const AttentionFlashPlace& at,
                                                       const float* a, const float* b,
                                                       float (&scores)[4][4]) {
  using Shape = AttentionFlash<D>;
  using F4 = Pack<float, 4>;
#pragma unroll
  for (auto& row : scores)
#pragma unroll
    for (float& s : row) s = 0;
#pragma unroll 4
  for (int c = 0; c < D; c += 4) {
    F4 of_a[4], of_b[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      of_a[i] = load_pack<float, 4>(a + (at.row0 + i) * Shape::kPitch + c);
      of_b[i] = load_pack<float, 4>(b + (at.x + 8 * i) * Shape::kPitch + c);
    }
#pragma unroll
    for (int k = 0; k < 4; ++k)
#pragma unroll
      for (int i = 0; i < 4; ++i)
#pragma unroll
        for (int j = 0; j < 4; ++j)
          scores[i][j] = fma(of_a[i].value[k], of_b[j].value[k], scores[i][j]);
  }
}

template <int D>
__device__ __forceinline__ void attention_flash_put(const AttentionFlashPlace& at,
                                                    const float (&scores)[4][4], float* to) {
#pragma unroll
  for (int i = 0; i < 4; ++i)
#pragma unroll
    for (int j = 0; j < 4; ++j)
      to[(at.row0 + i) * AttentionFlash<D>::kScorePitch + at.x + 8 * j] = scores[i][j];
}

// sum += scores (32, 32) b (32, D), the thread's share.
template <int D>
__device__ __forceinline__ void attention_flash_add(const AttentionFlashPlace& at,
                                                    const float* scores, const float* b,
                                                    float (&sum)[4][AttentionFlash<D>::kColumns]) {
  using Shape = AttentionFlash<D>;
  using F4 = Pack<float, 4>;
#pragma unroll 2
  for (int k = 0; k < Shape::kTile; k += 4) {
    F4 of_scores[4];
#pragma unroll
    for (int i = 0; i < 4; ++i)
      of_scores[i] = load_pack<float, 4>(scores + (at.row0 + i) * Shape::kScorePitch + k);
#pragma unroll
    for (int kk = 0; kk < 4; ++kk)
#pragma unroll
      for (int c = 0; c < Shape::kColumns; c += 4) {
        const F4 of_b = load_pack<float, 4>(b + (k + kk) * Shape::kPitch + 4 * at.x + 8 * c);
#pragma unroll
        for (int i = 0; i < 4; ++i)
#pragma unroll
          for (int j = 0; j < 4; ++j)
            sum[i][c + j] = fma(of_scores[i].value[kk], of_b.value[j], sum[i][c + j]);
      }
  }
}

// factors[i] * sum of the thread's rows -> tokens from `begin` on.
template <int D, class T>
__device__ __forceinline__ void attention_flash_store(
    const AttentionFlashPlace& at, const float (&sum)[4][AttentionFlash<D>::kColumns],
    const float (&factors)[4], T* to, int64_t ld, int begin, const AttentionProblem& p, bool add) {
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    const int token = begin + at.row0 + i;
    if (token >= p.T) continue;
#pragma unroll
    for (int c = 0; c < AttentionFlash<D>::kColumns; c += 4)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int column = 4 * at.x + 8 * c + j;
        if (column < p.head_dim)
          attention_store(to + int64_t{token} * ld + column, factors[i] * sum[i][c + j], add);
      }
  }
}

template <int D, class T>
__global__ void __launch_bounds__(AttentionFlash<D>::kThreads, 4)
    attention_flash_forward_kernel(AttentionProblem p, float scale, const T* __restrict__ qkv,
                                   T* out, float* lse) {
  using Shape = AttentionFlash<D>;
  MONO_DYNAMIC_SHARED(float, shared);
  float *const q = shared, *const k = q + Shape::kOperand, *const v = k + Shape::kOperand,
               *const prob = v + Shape::kOperand;
  const AttentionFlashPlace at;
  const int tiles = (p.T + Shape::kTile - 1) / Shape::kTile;
  const AttentionHead head(p, blockIdx.x / tiles);
  const int begin = static_cast<int>(blockIdx.x) % tiles * Shape::kTile;

  attention_flash_load<D>(q, qkv + head.q, p.ld_qkv, begin, p);
  float most[4], total[4], sum[4][Shape::kColumns] = {};
#pragma unroll
  for (int i = 0; i < 4; ++i) most[i] = -INFINITY, total[i] = 0;
  for (int key = 0; key < p.T; key += Shape::kTile) {
    __syncthreads();  // nobody reads the tiles before any more
    attention_flash_load<D>(k, qkv + head.k, p.ld_qkv, key, p);
    attention_flash_load<D>(v, qkv + head.v, p.ld_qkv, key, p);
    __syncthreads();
    float scores[4][4];
    attention_flash_scores<D>(at, q, k, scores);
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      float highest = most[i];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[i][j] = key + at.x + 8 * j < p.T ? scale * scores[i][j] : -INFINITY;
        highest = max(highest, scores[i][j]);
      }
      for (int lanes = 4; lanes > 0; lanes /= 2)  // the row's 8 threads
        highest = max(highest, __shfl_xor_sync(0xffffffffu, highest, lanes));
      const float shrink = exp(most[i] - highest);
      most[i] = highest;
      total[i] *= shrink;
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        scores[i][j] = exp(scores[i][j] - highest);
        total[i] += scores[i][j];
      }
#pragma unroll
      for (int c = 0; c < Shape::kColumns; ++c) sum[i][c] *= shrink;
    }
    attention_flash_put<D>(at, scores, prob);
    __syncwarp();  // a row's threads are in one warp
    attention_flash_add<D>(at, prob, v, sum);
  }
  float inverse[4];
#pragma unroll
  for (int i = 0; i < 4; ++i) {
    for (int lanes = 4; lanes > 0; lanes /= 2)
      total[i] += __shfl_xor_sync(0xffffffffu, total[i], lanes);
    inverse[i] = 1 / total[i];
    const int token = begin + at.row0 + i;
    if (lse && at.x == 0 && token < p.T) lse[head.lse + token] = most[i] + log(total[i]);
  }
  attention_flash_store<D>(at, sum, inverse, out + head.out, p.ld_out, begin, p, false);
}

// Keys: the block owns keys, its rows are those of P^T and dS^T, and it computes dk and dv. Else it
// owns queries and computes dq.
template <int D, bool Keys, class T>
__global__ void __launch_bounds__(AttentionFlash<D>::kThreads, 4)
    attention_flash_backward_kernel(AttentionProblem p, float scale, const T* __restrict__ qkv,
                                    const T* __restrict__ dout, const float* __restrict__ lse,
                                    const float* __restrict__ delta, T* dqkv, bool accumulate) {
  using Shape = AttentionFlash<D>;
  MONO_DYNAMIC_SHARED(float, shared);
  float* const own_a = shared;                   // K, or Q
  float* const own_b = own_a + Shape::kOperand;  // V, or dout
  float* const a = own_b + Shape::kOperand;      // Q, or K
  float* const b = a + Shape::kOperand;          // dout, or V
  float* const put_ds = b + Shape::kOperand;
  float* const put_prob = put_ds + Shape::kScores;
  const AttentionFlashPlace at;
  const int tiles = (p.T + Shape::kTile - 1) / Shape::kTile;
  const AttentionHead head(p, blockIdx.x / tiles);
  const int begin = static_cast<int>(blockIdx.x) % tiles * Shape::kTile;
  const auto load_queries = [&](float* q, float* dy, int from) {
    attention_flash_load<D>(q, qkv + head.q, p.ld_qkv, from, p);
    attention_flash_load<D>(dy, dout + head.out, p.ld_out, from, p);
  };
  const auto load_keys = [&](float* k, float* v, int from) {
    attention_flash_load<D>(k, qkv + head.k, p.ld_qkv, from, p);
    attention_flash_load<D>(v, qkv + head.v, p.ld_qkv, from, p);
  };

  Keys ? load_keys(own_a, own_b, begin) : load_queries(own_a, own_b, begin);
  float sum_a[4][Shape::kColumns] = {}, sum_b[4][Shape::kColumns] = {};
  for (int other = 0; other < p.T; other += Shape::kTile) {
    __syncthreads();
    Keys ? load_queries(a, b, other) : load_keys(a, b, other);
    __syncthreads();
    float prob[4][4], ds[4][4];
    attention_flash_scores<D>(at, own_a, a, prob);
    attention_flash_scores<D>(at, own_b, b, ds);
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int row = begin + at.row0 + i, column = other + at.x + 8 * j;
        const bool inside = row < p.T && column < p.T;
        const int64_t query = head.lse + (inside ? (Keys ? column : row) : 0);
        prob[i][j] = inside ? exp(fma(scale, prob[i][j], -lse[query])) : 0.0f;
        ds[i][j] = prob[i][j] * (ds[i][j] - delta[query]);
      }
    attention_flash_put<D>(at, ds, put_ds);
    if constexpr (Keys) attention_flash_put<D>(at, prob, put_prob);
    __syncwarp();
    attention_flash_add<D>(at, put_ds, a, sum_a);
    if constexpr (Keys) attention_flash_add<D>(at, put_prob, b, sum_b);
  }
  const float by_scale[4] = {scale, scale, scale, scale}, ones[4] = {1, 1, 1, 1};
  attention_flash_store<D>(at, sum_a, by_scale, dqkv + (Keys ? head.k : head.q), p.ld_qkv, begin, p,
                           accumulate);
  if constexpr (Keys)
    attention_flash_store<D>(at, sum_b, ones, dqkv + head.v, p.ld_qkv, begin, p, accumulate);
}

}  // namespace mono
