#include "kernels/matmul/matmul.cuh"

#include "kernels/matmul/matmul.h"

namespace mono {
namespace {

MatmulStrides strides_a(const MatmulProblem& p) {
  return p.transpose_a ? MatmulStrides{1, p.lda} : MatmulStrides{p.lda, 1};
}
MatmulStrides strides_b(const MatmulProblem& p) {
  return p.transpose_b ? MatmulStrides{p.ldb, 1} : MatmulStrides{1, p.ldb};
}

template <class T, class A, class B, class Out>
void run(Stream stream, MatmulVariant, const MatmulProblem& p, const Matmul<A, B, Out>& args,
         std::span<std::byte>) {
  const MatmulOutput<Out> out{args.c, p.ldc, args.bias, args.mode == GradMode::accumulate};
  launch<matmul_naive_kernel<T, A, B, Out>>(stream, {blocks_for(int64_t{p.M} * p.N, 256), 256}, p.M,
                                            p.N, p.K, args.a, strides_a(p), args.b, strides_b(p),
                                            out);
}

}  // namespace

template <class A, class B, class Out>
void matmul(Stream stream, MatmulVariant variant, const MatmulProblem& problem, DType compute,
            const Matmul<A, B, Out>& args, std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return matmul<A, B, Out>(variant, problem, compute, args, workspace);
  const MatmulProblem p = matmul_checked(problem);
  if (args.mode == GradMode::ignore) return;
  matmul_check_call(stream.device, variant, p, compute, args.a && args.b && args.c);
  if constexpr (std::is_same_v<A, double>) {
    if (compute == DType::f64) return run<double>(stream, variant, p, args, workspace);
  } else {
    if constexpr (std::is_same_v<A, float> && std::is_same_v<B, float> &&
                  std::is_same_v<Out, float>)
      if (compute == DType::f32) return run<float>(stream, variant, p, args, workspace);
    if (compute == DType::bf16) return run<bf16>(stream, variant, p, args, workspace);
  }
  matmul_fail_types(p, compute, kDTypeOf<A>, kDTypeOf<B>, kDTypeOf<Out>);
}

#define MONO_INSTANCE(T, A, B, Out)                                        \
  template void matmul(Stream, MatmulVariant, const MatmulProblem&, DType, \
                       const Matmul<A, B, Out>&, std::span<std::byte>);
MONO_INSTANCE(float, float, float, float)
MONO_INSTANCE(bf16, float, float, bf16)
MONO_INSTANCE(bf16, float, bf16, float)
MONO_INSTANCE(bf16, float, bf16, bf16)
MONO_INSTANCE(bf16, bf16, float, float)
MONO_INSTANCE(bf16, bf16, float, bf16)
MONO_INSTANCE(bf16, bf16, bf16, float)
MONO_INSTANCE(bf16, bf16, bf16, bf16)
MONO_INSTANCE(double, double, double, double)

}  // namespace mono
