#include "kernels/attention/attention.h"

#include <type_traits>

#include "kernels/attention/attention_naive.cuh"

namespace mono {
namespace {

// Of backward: delta.
template <class M>
struct Scratch {
  M* delta = nullptr;

  Scratch(AttentionPass pass, const AttentionProblem& p, WorkspaceLayout& work) {
    if (pass == AttentionPass::backward) delta = work.take<M>(int64_t{p.N} * p.heads * p.T);
  }
};

// A warp per row.
LaunchShape rows_shape(const AttentionProblem& p) {
  return {dim3(blocks_for(int64_t{p.N} * p.heads * p.T, kAttentionRowWarps)),
          dim3(32 * kAttentionRowWarps)};
}

}  // namespace

size_t attention_gpu_workspace(AttentionVariant, AttentionPass pass,
                               const AttentionProblem& problem, DType dtype) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    Scratch<Master<T>>(pass, problem, work);
    return work.used();
  });
}

template <class T>
void attention_forward(Stream stream, AttentionVariant variant, const AttentionProblem& problem,
                       const AttentionForward<T>& args, std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return attention_forward<T>(variant, problem, args, workspace);
  const AttentionProblem p = attention_checked(problem);
  attention_check_call(stream.device, variant, p, kDTypeOf<T>, args.qkv && args.out);
  const Master<T> scale = attention_scale<Master<T>>(p);
  launch<attention_naive_forward_kernel<T>>(stream, rows_shape(p), p, scale, args.qkv, args.out,
                                            args.lse);
}

template <class T>
void attention_backward(Stream stream, AttentionVariant variant, const AttentionProblem& problem,
                        const AttentionBackward<T>& args, std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return attention_backward<T>(variant, problem, args, workspace);
  const AttentionProblem p = attention_checked(problem);
  if (args.mode == GradMode::ignore) return;
  attention_check_call(stream.device, variant, p, kDTypeOf<T>,
                       args.qkv && args.out && args.dout && args.lse && args.dqkv);
  using M = Master<T>;
  WorkspaceLayout work("attention", workspace);
  const M* const delta = [&] {
    const Scratch<M> scratch(AttentionPass::backward, p, work);
    launch<attention_delta_kernel<T>>(stream, rows_shape(p), p, args.out, args.dout, scratch.delta);
    return scratch.delta;
  }();
  const M scale = attention_scale<M>(p);
  const bool add = args.mode == GradMode::accumulate;
  launch<attention_naive_query_kernel<T>>(stream, rows_shape(p), p, scale, args.qkv, args.dout,
                                          args.lse, delta, args.dqkv, add);
  launch<attention_naive_key_kernel<T>>(stream, rows_shape(p), p, scale, args.qkv, args.dout,
                                        args.lse, delta, args.dqkv, add);
}

#define MONO_INSTANCE(T)                                                              \
  template void attention_forward(Stream, AttentionVariant, const AttentionProblem&,  \
                                  const AttentionForward<T>&, std::span<std::byte>);  \
  template void attention_backward(Stream, AttentionVariant, const AttentionProblem&, \
                                   const AttentionBackward<T>&, std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_INSTANCE(double)

}  // namespace mono
