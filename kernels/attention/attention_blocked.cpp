// Attention on the CPU, variant `blocked`: strips of rows of the T x T matrices, made and used up
// by register-tiled matrix products (kernels/matmul/gemm_tile.h) while they are in the cache. In
// float; bf16 operands are widened as they are packed.
//
// Units are heads. K and V are packed once a head, transposed where they are the right operand of a
// product over head_dim. A strip of kStrip queries has all its scores at once, so its softmax needs
// no rescaling; backward adds each strip's share to dk and dv, in order. Scratch grows with T.
#include <algorithm>
#include <vector>

#include "kernels/attention/attention_loops.h"
#include "kernels/attention/attention_variants.h"
#include "kernels/matmul/gemm_tile.h"

namespace mono {
namespace {

constexpr int kStrip = 64;

// Arrays of one worker; rows of head_dim and of T are padded for the products.
struct Scratch {
  int64_t d, t;                         // padded extents
  float *q, *s, *sum;                   // of a strip: (kStrip, d), (kStrip, t), (kStrip, d)
  float *row_a, *row_b;                 // (kStrip): 1 / sums and lse; lse and delta
  float *kt, *v;                        // (head_dim, t); forward: (T, d)
  float *vt, *k, *dk, *dv, *dout, *dp;  // backward: (head_dim, t), 3 (T, d), (kStrip, d | t)

  Scratch(AttentionPass pass, const AttentionProblem& p, WorkspaceLayout& work)
      : d(gemm_padded(p.head_dim)), t(gemm_padded(p.T)) {
    const auto take = [&](int64_t rows, int64_t columns) {
      return work.take<float>(rows * columns);
    };
    q = take(kStrip, d);
    s = take(kStrip, t);
    sum = take(kStrip, d);
    row_a = take(kStrip, 1);
    row_b = take(kStrip, 1);
    kt = take(p.head_dim, t);
    const bool backward = pass == AttentionPass::backward;
    v = backward ? nullptr : take(p.T, d);
    vt = backward ? take(p.head_dim, t) : nullptr;
    k = backward ? take(p.T, d) : nullptr;
    dk = backward ? take(p.T, d) : nullptr;
    dv = backward ? take(p.T, d) : nullptr;
    dout = backward ? take(kStrip, d) : nullptr;
    dp = backward ? take(kStrip, t) : nullptr;
  }
};

// Calls f(head, scratch) for every head.
template <class F>
void for_each_head(AttentionPass pass, const AttentionProblem& p, std::span<std::byte> workspace,
                   F&& f) {
  WorkspaceLayout work("attention", workspace);
  std::vector<Scratch> of_worker;
  for (int i = 0; i < num_threads(); ++i) of_worker.emplace_back(pass, p, work);
  parallel_for(int64_t{p.N} * p.heads, [&](int64_t unit, int worker) {
    f(AttentionHead(p, unit), of_worker[static_cast<size_t>(worker)]);
  });
}

// c (m, n) = a b, all but the rows and inner extent padded.
void product(int m, int64_t n, int inner, const float* a, int64_t row_step, int64_t inner_step,
             const float* b, float* c) {
  std::fill_n(c, m * n, 0.0f);
  gemm_add<float>(m, static_cast<int>(n), inner, a, row_step, inner_step, b, n, c, n);
}

template <class T>
void forward_head(const AttentionProblem& p, const AttentionForward<T>& args,
                  const AttentionHead& at, const Scratch& s) {
  const int head_dim = p.head_dim;
  const float scale = attention_scale<float>(p);
  MONO_SIMD(attention_transpose(p.T, head_dim, args.qkv + at.k, p.ld_qkv, s.kt, s.t));
  MONO_SIMD(attention_widen(p.T, head_dim, args.qkv + at.v, p.ld_qkv, s.v, s.d));
  for (int begin = 0; begin < p.T; begin += kStrip) {
    const int rows = std::min(kStrip, p.T - begin);
    const T* q = args.qkv + at.q + int64_t{begin} * p.ld_qkv;
    MONO_SIMD(attention_widen(rows, head_dim, q, p.ld_qkv, s.q, s.d));
    product(rows, s.t, head_dim, s.q, s.d, 1, s.kt, s.s);
    MONO_SIMD(attention_softmax(rows, p.T, scale, s.s, s.t, s.row_a, s.row_b));
    product(rows, s.d, p.T, s.s, s.t, 1, s.v, s.sum);
    T* out = args.out + at.out + int64_t{begin} * p.ld_out;
    MONO_SIMD(attention_store(rows, head_dim, s.sum, s.d, s.row_a, out, p.ld_out, false));
    if (args.lse) std::copy_n(s.row_b, rows, args.lse + at.lse + begin);
  }
}

template <class T>
void backward_head(const AttentionProblem& p, const AttentionBackward<T>& args,
                   const AttentionHead& at, const Scratch& s) {
  const int head_dim = p.head_dim;
  const float scale = attention_scale<float>(p);
  const bool add = args.mode == GradMode::accumulate;
  const int columns = static_cast<int>(s.d);
  MONO_SIMD(attention_transpose(p.T, head_dim, args.qkv + at.k, p.ld_qkv, s.kt, s.t));
  MONO_SIMD(attention_transpose(p.T, head_dim, args.qkv + at.v, p.ld_qkv, s.vt, s.t));
  MONO_SIMD(attention_widen(p.T, head_dim, args.qkv + at.k, p.ld_qkv, s.k, s.d));
  std::fill_n(s.dk, p.T * s.d, 0.0f);
  std::fill_n(s.dv, p.T * s.d, 0.0f);
  for (int begin = 0; begin < p.T; begin += kStrip) {
    const int rows = std::min(kStrip, p.T - begin);
    const int64_t row = int64_t{begin} * p.ld_out, row_qkv = int64_t{begin} * p.ld_qkv;
    // delta, with out in the place of q
    MONO_SIMD(attention_widen(rows, head_dim, args.out + at.out + row, p.ld_out, s.q, s.d));
    MONO_SIMD(attention_widen(rows, head_dim, args.dout + at.out + row, p.ld_out, s.dout, s.d));
    for (int i = 0; i < rows; ++i) {
      float delta = 0;
      for (int c = 0; c < head_dim; ++c) delta += s.q[i * s.d + c] * s.dout[i * s.d + c];
      s.row_b[i] = delta;
    }
    MONO_SIMD(attention_widen(rows, head_dim, args.qkv + at.q + row_qkv, p.ld_qkv, s.q, s.d));
    product(rows, s.t, head_dim, s.q, s.d, 1, s.kt, s.s);
    product(rows, s.t, head_dim, s.dout, s.d, 1, s.vt, s.dp);
    MONO_SIMD(
        attention_gradient(rows, p.T, scale, args.lse + at.lse + begin, s.row_b, s.s, s.dp, s.t));
    gemm_add<float>(p.T, columns, rows, s.s, 1, s.t, s.dout, s.d, s.dv, s.d);
    gemm_add<float>(p.T, columns, rows, s.dp, 1, s.t, s.q, s.d, s.dk, s.d);
    product(rows, s.d, p.T, s.dp, s.t, 1, s.k, s.sum);
    MONO_SIMD(attention_store(rows, head_dim, s.sum, s.d, nullptr, args.dqkv + at.q + row_qkv,
                              p.ld_qkv, add));
  }
  MONO_SIMD(attention_store(p.T, head_dim, s.dk, s.d, nullptr, args.dqkv + at.k, p.ld_qkv, add));
  MONO_SIMD(attention_store(p.T, head_dim, s.dv, s.d, nullptr, args.dqkv + at.v, p.ld_qkv, add));
}

}  // namespace

size_t attention_blocked_workspace(AttentionPass pass, const AttentionProblem& p, DType) {
  WorkspaceLayout work;
  for (int i = 0; i < num_threads(); ++i) Scratch(pass, p, work);
  return work.used();
}

template <class T>
void attention_blocked_forward(const AttentionProblem& p, const AttentionForward<T>& args,
                               std::span<std::byte> workspace) {
  for_each_head(
      AttentionPass::forward, p, workspace,
      [&](const AttentionHead& at, const Scratch& scratch) { forward_head(p, args, at, scratch); });
}

template <class T>
void attention_blocked_backward(const AttentionProblem& p, const AttentionBackward<T>& args,
                                std::span<std::byte> workspace) {
  for_each_head(AttentionPass::backward, p, workspace,
                [&](const AttentionHead& at, const Scratch& scratch) {
                  backward_head(p, args, at, scratch);
                });
}

#define MONO_INSTANCE(T)                                                                         \
  template void attention_blocked_forward(const AttentionProblem&, const AttentionForward<T>&,   \
                                          std::span<std::byte>);                                 \
  template void attention_blocked_backward(const AttentionProblem&, const AttentionBackward<T>&, \
                                           std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)

}  // namespace mono
