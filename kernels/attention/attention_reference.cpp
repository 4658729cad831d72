// Attention on the CPU, variant `reference`: the definition, a row of scores at a time, in
// Master<T>. Units are heads; each sums in the order of tokens.
#include <algorithm>
#include <vector>

#include "kernels/attention/attention_variants.h"

namespace mono {
namespace {

// Arrays of one worker.
template <class M>
struct Scratch {
  M* p;        // a row of T
  M *q, *sum;  // a row of head_dim
  M *k, *v;    // (T, head_dim): the head's, widened
  M *dk = nullptr, *dv = nullptr;

  Scratch(AttentionPass pass, const AttentionProblem& problem, WorkspaceLayout& work) {
    const int64_t size = int64_t{problem.T} * problem.head_dim;
    p = work.take<M>(problem.T);
    q = work.take<M>(problem.head_dim);
    sum = work.take<M>(problem.head_dim);
    k = work.take<M>(size);
    v = work.take<M>(size);
    if (pass == AttentionPass::forward) return;
    dk = work.take<M>(size);
    dv = work.take<M>(size);
  }
};

// Calls f(head, scratch) for every head.
template <class M, class F>
void for_each_head(AttentionPass pass, const AttentionProblem& p, std::span<std::byte> workspace,
                   F&& f) {
  WorkspaceLayout work("attention", workspace);
  std::vector<Scratch<M>> of_worker;
  for (int i = 0; i < num_threads(); ++i) of_worker.emplace_back(pass, p, work);
  parallel_for(int64_t{p.N} * p.heads, [&](int64_t unit, int worker) {
    f(AttentionHead(p, unit), of_worker[static_cast<size_t>(worker)]);
  });
}

template <class M>
M dot(int n, const M* a, const M* b) {
  M sum = 0;
  for (int i = 0; i < n; ++i) sum += a[i] * b[i];
  return sum;
}
template <class M>
void add_scaled(int n, M factor, const M* x, M* y) {
  for (int i = 0; i < n; ++i) y[i] += factor * x[i];
}
template <class T, class M>
void widen(int64_t rows, int n, const T* x, int64_t ld, M* y) {
  for (int64_t row = 0; row < rows; ++row)
    for (int i = 0; i < n; ++i) y[row * n + i] = static_cast<M>(x[row * ld + i]);
}
template <class T, class M>
void store(int64_t rows, int n, const M* x, T* y, int64_t ld, bool add) {
  for (int64_t row = 0; row < rows; ++row)
    for (int i = 0; i < n; ++i) {
      T& to = y[row * ld + i];
      to = static_cast<T>(add ? static_cast<M>(to) + x[row * n + i] : x[row * n + i]);
    }
}

template <class T, class M>
void forward_head(const AttentionProblem& p, const AttentionForward<T>& args,
                  const AttentionHead& at, const Scratch<M>& s) {
  const int d = p.head_dim;
  const M scale = attention_scale<M>(p);
  widen(p.T, d, args.qkv + at.k, p.ld_qkv, s.k);
  widen(p.T, d, args.qkv + at.v, p.ld_qkv, s.v);
  for (int64_t i = 0; i < p.T; ++i) {
    widen(1, d, args.qkv + at.q + i * p.ld_qkv, 0, s.q);
    for (int64_t j = 0; j < p.T; ++j) s.p[j] = scale * dot(d, s.q, s.k + j * d);
    const M most = *std::max_element(s.p, s.p + p.T);
    M sum = 0;
    for (int j = 0; j < p.T; ++j) sum += s.p[j] = std::exp(s.p[j] - most);
    std::fill_n(s.sum, d, M(0));
    for (int64_t j = 0; j < p.T; ++j) add_scaled(d, s.p[j] / sum, s.v + j * d, s.sum);
    store(1, d, s.sum, args.out + at.out + i * p.ld_out, 0, false);
    if (args.lse) args.lse[at.lse + i] = most + std::log(sum);
  }
}

template <class T, class M>
void backward_head(const AttentionProblem& p, const AttentionBackward<T>& args,
                   const AttentionHead& at, const Scratch<M>& s) {
  const int d = p.head_dim;
  const M scale = attention_scale<M>(p);
  const bool add = args.mode == GradMode::accumulate;
  widen(p.T, d, args.qkv + at.k, p.ld_qkv, s.k);
  widen(p.T, d, args.qkv + at.v, p.ld_qkv, s.v);
  std::fill_n(s.dk, int64_t{p.T} * d, M(0));
  std::fill_n(s.dv, int64_t{p.T} * d, M(0));
  for (int64_t i = 0; i < p.T; ++i) {
    M out[kMostHeadDim], dout[kMostHeadDim];
    widen(1, d, args.qkv + at.q + i * p.ld_qkv, 0, s.q);
    widen(1, d, args.out + at.out + i * p.ld_out, 0, out);
    widen(1, d, args.dout + at.out + i * p.ld_out, 0, dout);
    const M delta = dot(d, out, dout), lse = args.lse[at.lse + i];
    std::fill_n(s.sum, d, M(0));
    for (int64_t j = 0; j < p.T; ++j) {
      const M prob = std::exp(scale * dot(d, s.q, s.k + j * d) - lse);
      const M ds = scale * prob * (dot(d, dout, s.v + j * d) - delta);
      add_scaled(d, prob, dout, s.dv + j * d);
      add_scaled(d, ds, s.q, s.dk + j * d);
      add_scaled(d, ds, s.k + j * d, s.sum);
    }
    store(1, d, s.sum, args.dqkv + at.q + i * p.ld_qkv, 0, add);
  }
  store(p.T, d, s.dk, args.dqkv + at.k, p.ld_qkv, add);
  store(p.T, d, s.dv, args.dqkv + at.v, p.ld_qkv, add);
}

}  // namespace

size_t attention_reference_workspace(AttentionPass pass, const AttentionProblem& p, DType dtype) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    for (int i = 0; i < num_threads(); ++i) Scratch<Master<T>>(pass, p, work);
    return work.used();
  });
}

template <class T>
void attention_reference_forward(const AttentionProblem& p, const AttentionForward<T>& args,
                                 std::span<std::byte> workspace) {
  using M = Master<T>;
  for_each_head<M>(AttentionPass::forward, p, workspace,
                   [&](const AttentionHead& at, const Scratch<M>& scratch) {
                     forward_head(p, args, at, scratch);
                   });
}

template <class T>
void attention_reference_backward(const AttentionProblem& p, const AttentionBackward<T>& args,
                                  std::span<std::byte> workspace) {
  using M = Master<T>;
  for_each_head<M>(AttentionPass::backward, p, workspace,
                   [&](const AttentionHead& at, const Scratch<M>& scratch) {
                     backward_head(p, args, at, scratch);
                   });
}

#define MONO_INSTANCE(T)                                                                           \
  template void attention_reference_forward(const AttentionProblem&, const AttentionForward<T>&,   \
                                            std::span<std::byte>);                                 \
  template void attention_reference_backward(const AttentionProblem&, const AttentionBackward<T>&, \
                                             std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_INSTANCE(double)

}  // namespace mono
