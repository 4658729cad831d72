// Attention on the GPU, variant `naive`: the definition. A warp computes a row; its lanes share out
// 32 tokens of the other side at a time for scores, and the elements of the head for sums.
// Traffic: keys and values once a row, in the hope of caches. And what all variants share: delta.
#pragma once

#include "kernels/attention/attention_variants.h"
#include "kernels/simt/simt.cuh"

namespace mono {

inline constexpr int kAttentionRowWarps = 4;  // of a block of a kernel with a warp per row

template <class T>
__device__ __forceinline__ void attention_store(T* to, Master<T> value, bool add) {
  if (add) value += static_cast<Master<T>>(*to);
  *to = static_cast<T>(value);
}
template <class T>
__device__ __forceinline__ Master<T> attention_dot(int n, const T* a, const T* b) {
  Master<T> sum = 0;
  for (int i = 0; i < n; ++i)
    sum = fma(static_cast<Master<T>>(a[i]), static_cast<Master<T>>(b[i]), sum);
  return sum;
}

// The row of a warp: token `t` of a head.
struct AttentionRow {
  int64_t unit;
  int t, lane;
  bool inside;

  __device__ __forceinline__ explicit AttentionRow(const AttentionProblem& p) {
    const int64_t row = int64_t{blockIdx.x} * kAttentionRowWarps + threadIdx.x / 32;
    unit = row / p.T;
    t = static_cast<int>(row % p.T);
    lane = static_cast<int>(threadIdx.x) % 32;
    inside = unit < int64_t{p.N} * p.heads;
  }
};

// The elements of a head that a lane sums: lane, lane + 32, ...
template <class M>
struct AttentionLaneSums {
  M sum[kMostHeadDim / 32] = {};

  // sum += factor * x
  template <class T>
  __device__ __forceinline__ void add(int lane, int head_dim, M factor, const T* x) {
#pragma unroll
    for (int i = 0; i < kMostHeadDim / 32; ++i)
      if (lane + 32 * i < head_dim) sum[i] = fma(factor, static_cast<M>(x[lane + 32 * i]), sum[i]);
  }
  __device__ __forceinline__ void multiply(M factor) {
#pragma unroll
    for (M& s : sum) s *= factor;
  }
  template <class T>
  __device__ __forceinline__ void store(int lane, int head_dim, T* to, bool add) const {
#pragma unroll
    for (int i = 0; i < kMostHeadDim / 32; ++i)
      if (lane + 32 * i < head_dim) attention_store(to + lane + 32 * i, sum[i], add);
  }
};

// delta (N,heads,T) = rowsum(dout * out), a warp a row.
template <class T>
__global__ void __launch_bounds__(32 * kAttentionRowWarps, 4)
    attention_delta_kernel(AttentionProblem p, const T* __restrict__ out,
                           const T* __restrict__ dout, Master<T>* delta) {
  using M = Master<T>;
  const AttentionRow row(p);
  if (!row.inside) return;
  const int64_t at = AttentionHead(p, row.unit).out + int64_t{row.t} * p.ld_out;
  M sum = 0;
  for (int i = row.lane; i < p.head_dim; i += 32)
    sum = fma(static_cast<M>(out[at + i]), static_cast<M>(dout[at + i]), sum);
  for (int lanes = 16; lanes > 0; lanes /= 2) sum += __shfl_xor_sync(0xffffffffu, sum, lanes);
  if (row.lane == 0) delta[row.unit * p.T + row.t] = sum;
}

template <class T>
__global__ void __launch_bounds__(32 * kAttentionRowWarps, 4)
    attention_naive_forward_kernel(AttentionProblem p, Master<T> scale, const T* __restrict__ qkv,
                                   T* out, Master<T>* lse) {
  using M = Master<T>;
  const AttentionRow row(p);
  if (!row.inside) return;
  const AttentionHead at(p, row.unit);
  const T* const q = qkv + at.q + int64_t{row.t} * p.ld_qkv;
  M most = -INFINITY, sum = 0;
  AttentionLaneSums<M> o;
  for (int begin = 0; begin < p.T; begin += 32) {
    const int j = begin + row.lane;
    M score = -INFINITY;
    if (j < p.T) score = scale * attention_dot(p.head_dim, q, qkv + at.k + int64_t{j} * p.ld_qkv);
    M highest = score;
    for (int lanes = 16; lanes > 0; lanes /= 2)
      highest = max(highest, __shfl_xor_sync(0xffffffffu, highest, lanes));
    highest = max(highest, most);
    const M shrink = exp(most - highest);
    score = exp(score - highest);
    most = highest;
    M here = score;
    for (int lanes = 16; lanes > 0; lanes /= 2) here += __shfl_xor_sync(0xffffffffu, here, lanes);
    sum = fma(sum, shrink, here);
    o.multiply(shrink);
    for (int k = 0; k < min(32, p.T - begin); ++k)
      o.add(row.lane, p.head_dim, __shfl_sync(0xffffffffu, score, k),
            qkv + at.v + int64_t{begin + k} * p.ld_qkv);
  }
  o.multiply(1 / sum);
  o.store(row.lane, p.head_dim, out + at.out + int64_t{row.t} * p.ld_out, false);
  if (lse && row.lane == 0) lse[at.lse + row.t] = most + log(sum);
}

// dq: a warp per query; its lanes share out the keys.
template <class T>
__global__ void __launch_bounds__(32 * kAttentionRowWarps, 4)
    attention_naive_query_kernel(AttentionProblem p, Master<T> scale, const T* __restrict__ qkv,
                                 const T* __restrict__ dout, const Master<T>* __restrict__ lse,
                                 const Master<T>* __restrict__ delta, T* dqkv, bool accumulate) {
  using M = Master<T>;
  const AttentionRow row(p);
  if (!row.inside) return;
  const AttentionHead at(p, row.unit);
  const T* const q = qkv + at.q + int64_t{row.t} * p.ld_qkv;
  const T* const dy = dout + at.out + int64_t{row.t} * p.ld_out;
  AttentionLaneSums<M> dq;
  for (int begin = 0; begin < p.T; begin += 32) {
    const int64_t j = begin + row.lane;
    M ds = 0;
    if (j < p.T) {
      const T *const k = qkv + at.k + j * p.ld_qkv, *const v = qkv + at.v + j * p.ld_qkv;
      const M prob = exp(scale * attention_dot(p.head_dim, q, k) - lse[at.lse + row.t]);
      ds = scale * prob * (attention_dot(p.head_dim, dy, v) - delta[at.lse + row.t]);
    }
    for (int k = 0; k < min(32, p.T - begin); ++k)
      dq.add(row.lane, p.head_dim, __shfl_sync(0xffffffffu, ds, k),
             qkv + at.k + int64_t{begin + k} * p.ld_qkv);
  }
  dq.store(row.lane, p.head_dim, dqkv + at.q + int64_t{row.t} * p.ld_qkv, accumulate);
}

// dk and dv: a warp per key; its lanes share out the queries.
template <class T>
__global__ void __launch_bounds__(32 * kAttentionRowWarps, 4)
    attention_naive_key_kernel(AttentionProblem p, Master<T> scale, const T* __restrict__ qkv,
                               const T* __restrict__ dout, const Master<T>* __restrict__ lse,
                               const Master<T>* __restrict__ delta, T* dqkv, bool accumulate) {
  using M = Master<T>;
  const AttentionRow row(p);
  if (!row.inside) return;
  const AttentionHead at(p, row.unit);
  const T* const k = qkv + at.k + int64_t{row.t} * p.ld_qkv;
  const T* const v = qkv + at.v + int64_t{row.t} * p.ld_qkv;
  AttentionLaneSums<M> dk, dv;
  for (int begin = 0; begin < p.T; begin += 32) {
    const int64_t i = begin + row.lane;
    M prob = 0, ds = 0;
    if (i < p.T) {
      const T *const q = qkv + at.q + i * p.ld_qkv, *const dy = dout + at.out + i * p.ld_out;
      prob = exp(scale * attention_dot(p.head_dim, q, k) - lse[at.lse + i]);
      ds = scale * prob * (attention_dot(p.head_dim, dy, v) - delta[at.lse + i]);
    }
    for (int q = 0; q < min(32, p.T - begin); ++q) {
      dv.add(row.lane, p.head_dim, __shfl_sync(0xffffffffu, prob, q),
             dout + at.out + int64_t{begin + q} * p.ld_out);
      dk.add(row.lane, p.head_dim, __shfl_sync(0xffffffffu, ds, q),
             qkv + at.q + int64_t{begin + q} * p.ld_qkv);
    }
  }
  dk.store(row.lane, p.head_dim, dqkv + at.k + int64_t{row.t} * p.ld_qkv, accumulate);
  dv.store(row.lane, p.head_dim, dqkv + at.v + int64_t{row.t} * p.ld_qkv, accumulate);
}

}  // namespace mono
