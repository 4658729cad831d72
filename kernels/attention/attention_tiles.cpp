// Attention on the CPU, variant `amx`: heads in parallel, each on AMX tiles with the scratch of its
// worker. Scratch grows with T.
#include "kernels/attention/attention_tiles.h"

#include <vector>

#include "kernels/attention/attention_variants.h"

namespace mono {
namespace {

using attention_tiles::Backward;
using attention_tiles::Extents;
using attention_tiles::Forward;
using attention_tiles::kStrip;

int padded(int n) {
  return (n + kStrip - 1) / kStrip * kStrip;
}
Extents extents_of(const AttentionProblem& p) {
  return {p.T,
          p.head_dim,
          padded(p.T),
          padded(p.head_dim),
          p.ld_qkv,
          p.ld_out,
          attention_scale<float>(p)};
}

Forward forward_scratch(const Extents& e, WorkspaceLayout& work) {
  Forward h{};
  h.extents = e;
  for (bf16** operand : {&h.rows, &h.k_words, &h.v_pairs})
    *operand = work.take<bf16>(int64_t{e.t} * e.d);
  h.p = work.take<bf16>(int64_t{kStrip} * e.t);
  h.s = work.take<float>(int64_t{kStrip} * e.t);
  h.sum = work.take<float>(int64_t{kStrip} * e.d);
  return h;
}

Backward backward_scratch(const Extents& e, WorkspaceLayout& work) {
  Backward h{};
  h.extents = e;
  for (bf16** operand : {&h.rows, &h.k_rows, &h.v_rows, &h.k_pairs, &h.q_words, &h.q_pairs,
                         &h.dout_words, &h.dout_pairs})
    *operand = work.take<bf16>(int64_t{e.t} * e.d);
  for (bf16** strip : {&h.p, &h.ds, &h.ds_tiles}) *strip = work.take<bf16>(int64_t{kStrip} * e.t);
  for (float** strip : {&h.s, &h.dp}) *strip = work.take<float>(int64_t{kStrip} * e.t);
  h.sum = work.take<float>(int64_t{kStrip} * e.d);
  h.dq_sum = work.take<float>(int64_t{e.t} * e.d);
  h.lse_of_2 = work.take<float>(e.t);
  h.delta = work.take<float>(e.t);
  return h;
}

}  // namespace

size_t attention_amx_workspace(AttentionPass pass, const AttentionProblem& p, DType) {
  WorkspaceLayout work;
  for (int i = 0; i < num_threads(); ++i) {
    if (pass == AttentionPass::forward)
      forward_scratch(extents_of(p), work);
    else
      backward_scratch(extents_of(p), work);
  }
  return work.used();
}

template <>
void attention_amx_forward(const AttentionProblem& p, const AttentionForward<bf16>& args,
                           std::span<std::byte> workspace) {
  WorkspaceLayout work("attention", workspace);
  std::vector<Forward> of_worker;
  for (int i = 0; i < num_threads(); ++i) of_worker.push_back(forward_scratch(extents_of(p), work));
  parallel_for(int64_t{p.N} * p.heads, [&](int64_t unit, int worker) {
    const AttentionHead at(p, unit);
    Forward head = of_worker[static_cast<size_t>(worker)];
    head.q = args.qkv + at.q;
    head.k = args.qkv + at.k;
    head.v = args.qkv + at.v;
    head.out = args.out + at.out;
    head.lse = args.lse ? args.lse + at.lse : nullptr;
    attention_tiles::forward_head(head);
  });
}

template <>
void attention_amx_backward(const AttentionProblem& p, const AttentionBackward<bf16>& args,
                            std::span<std::byte> workspace) {
  WorkspaceLayout work("attention", workspace);
  std::vector<Backward> of_worker;
  for (int i = 0; i < num_threads(); ++i)
    of_worker.push_back(backward_scratch(extents_of(p), work));
  parallel_for(int64_t{p.N} * p.heads, [&](int64_t unit, int worker) {
    const AttentionHead at(p, unit);
    Backward head = of_worker[static_cast<size_t>(worker)];
    head.q = args.qkv + at.q;
    head.k = args.qkv + at.k;
    head.v = args.qkv + at.v;
    head.out = args.out + at.out;
    head.dout = args.dout + at.out;
    head.lse = args.lse + at.lse;
    head.dq = args.dqkv + at.q;
    head.dk = args.dqkv + at.k;
    head.dv = args.dqkv + at.v;
    head.accumulate = args.mode == GradMode::accumulate;
    attention_tiles::backward_head(head);
  });
}

}  // namespace mono
