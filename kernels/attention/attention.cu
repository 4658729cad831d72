#include "kernels/attention/attention.h"

#include <type_traits>

#include "kernels/attention/attention_flash.cuh"
#include "kernels/attention/attention_flash_mma.cuh"
#include "kernels/attention/attention_naive.cuh"

namespace mono {
namespace {

// delta of backward.
template <class M>
M* take_delta(const AttentionProblem& p, WorkspaceLayout& work) {
  return work.take<M>(int64_t{p.N} * p.heads * p.T);
}

// A warp per row.
LaunchShape rows_shape(const AttentionProblem& p) {
  return {dim3(blocks_for(int64_t{p.N} * p.heads * p.T, kAttentionRowWarps)),
          dim3(32 * kAttentionRowWarps)};
}
// A block per `tile` tokens of each head.
dim3 tiles_grid(const AttentionProblem& p, int tile) {
  return dim3(static_cast<unsigned>(p.N * p.heads) * blocks_for(p.T, tile));
}

// Calls f.operator()<D>() with head_dim rounded up to what kernels are compiled for.
template <class F>
void dispatch_head_dim(int head_dim, F&& f) {
  if (head_dim <= 32)
    f.template operator()<32>();
  else if (head_dim <= 64)
    f.template operator()<64>();
  else
    f.template operator()<128>();
}

template <int D, class T>
void launch_flash(Stream stream, const AttentionProblem& p, const AttentionForward<T>& args) {
  using Shape = AttentionFlash<D>;
  launch<attention_flash_forward_kernel<D, T>>(
      stream, {tiles_grid(p, Shape::kTile), Shape::kThreads, Shape::kForwardShared}, p,
      attention_scale<float>(p), args.qkv, args.out, args.lse);
}
template <int D, class T>
void launch_flash(Stream stream, const AttentionProblem& p, const AttentionBackward<T>& args,
                  float* delta) {
  using Shape = AttentionFlash<D>;
  launch<attention_delta_kernel<T>>(stream, rows_shape(p), p, args.out, args.dout, delta);
  const LaunchShape shape{tiles_grid(p, Shape::kTile), Shape::kThreads, Shape::kBackwardShared};
  const float scale = attention_scale<float>(p);
  const bool add = args.mode == GradMode::accumulate;
  launch<attention_flash_backward_kernel<D, false, T>>(stream, shape, p, scale, args.qkv, args.dout,
                                                       args.lse, delta, args.dqkv, add);
  launch<attention_flash_backward_kernel<D, true, T>>(stream, shape, p, scale, args.qkv, args.dout,
                                                      args.lse, delta, args.dqkv, add);
}

void check_alignment(const AttentionProblem& p, std::initializer_list<const void*> operands) {
  for (const void* operand : operands)
    MONO_CHECK(reinterpret_cast<uintptr_t>(operand) % 16 == 0,
               "attention {}: operands of flash_mma must be 16-byte aligned", p.to_string());
}

template <int D>
void launch_mma(Stream stream, const AttentionProblem& p, const AttentionForward<bf16>& args) {
  using Shape = AttentionMma<D>;
  check_alignment(p, {args.qkv, args.out});
  launch<attention_flash_mma_forward_kernel<D>>(
      stream, {tiles_grid(p, Shape::kTile), Shape::kThreads, Shape::kForwardShared}, p,
      attention_scale<float>(p), args.qkv, args.out, args.lse);
}
template <int D>
void launch_mma(Stream stream, const AttentionProblem& p, const AttentionBackward<bf16>& args,
                float* delta) {
  using Shape = AttentionMma<D>;
  check_alignment(p, {args.qkv, args.out, args.dout, args.dqkv});
  const LaunchShape shape{tiles_grid(p, Shape::kTile), Shape::kThreads, Shape::kBackwardShared};
  const float scale = attention_scale<float>(p);
  const bool add = args.mode == GradMode::accumulate;
  launch<attention_flash_mma_backward_kernel<D, false>>(stream, shape, p, scale, args.qkv, args.out,
                                                        args.dout, args.lse, delta, args.dqkv, add);
  launch<attention_flash_mma_backward_kernel<D, true>>(stream, shape, p, scale, args.qkv, args.out,
                                                       args.dout, args.lse, delta, args.dqkv, add);
}

// The variants in tiles; `args` and what follows go to their launches.
template <class T, class... Args>
void launch_tiles(Stream stream, AttentionVariant variant, const AttentionProblem& p,
                  const Args&... args) {
  dispatch_head_dim(p.head_dim, [&]<int D>() {
    if constexpr (std::is_same_v<T, bf16>)
      if (variant == AttentionVariant::flash_mma) return launch_mma<D>(stream, p, args...);
    launch_flash<D, T>(stream, p, args...);
  });
}

}  // namespace

size_t attention_gpu_workspace(AttentionVariant, AttentionPass pass,
                               const AttentionProblem& problem, DType dtype) {
  if (pass == AttentionPass::forward) return 0;
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    take_delta<Master<T>>(problem, work);
    return work.used();
  });
}

template <class T>
void attention_forward(Stream stream, AttentionVariant variant, const AttentionProblem& problem,
                       const AttentionForward<T>& args, std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return attention_forward<T>(variant, problem, args, workspace);
  const AttentionProblem p = attention_checked(problem);
  attention_check_call(stream.device, variant, p, kDTypeOf<T>, args.qkv && args.out);
  if constexpr (!std::is_same_v<T, double>)
    if (variant != AttentionVariant::naive) return launch_tiles<T>(stream, variant, p, args);
  launch<attention_naive_forward_kernel<T>>(stream, rows_shape(p), p, attention_scale<Master<T>>(p),
                                            args.qkv, args.out, args.lse);
}

template <class T>
void attention_backward(Stream stream, AttentionVariant variant, const AttentionProblem& problem,
                        const AttentionBackward<T>& args, std::span<std::byte> workspace) {
  using M = Master<T>;
  if (!stream.on_gpu()) return attention_backward<T>(variant, problem, args, workspace);
  const AttentionProblem p = attention_checked(problem);
  if (args.mode == GradMode::ignore) return;
  attention_check_call(stream.device, variant, p, kDTypeOf<T>,
                       args.qkv && args.out && args.dout && args.lse && args.dqkv);
  WorkspaceLayout work("attention", workspace);
  M* const delta = take_delta<M>(p, work);
  if constexpr (!std::is_same_v<T, double>)
    if (variant != AttentionVariant::naive) return launch_tiles<T>(stream, variant, p, args, delta);
  launch<attention_delta_kernel<T>>(stream, rows_shape(p), p, args.out, args.dout, delta);
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
