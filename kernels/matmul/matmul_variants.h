// What the files of this folder share. Not for callers.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/host_device.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/workspace.h"
#include "kernels/matmul/matmul.h"

namespace mono {

// The problem with packed leading dimensions filled in; throws where it makes no sense.
MatmulProblem matmul_checked(const MatmulProblem& problem);
// Whether they are there and make sense together.
template <class A, class B, class Out>
bool matmul_operands(const Matmul<A, B, Out>& args) {
  return args.a && args.b && args.c && args.rows_per_keep >= 1 &&
         !(args.residual && args.mode == GradMode::accumulate);
}
// Throws unless the operands are there and the variant can run them on a stream of `device`.
void matmul_check_call(Device device, MatmulVariant variant, const MatmulProblem& problem,
                       DType compute, bool operands);
// Of types that do not go together.
[[noreturn]] void matmul_fail_types(const MatmulProblem& problem, DType compute, DType a, DType b,
                                    DType out);

// The problem that reaches a variant has its leading dimensions filled in and is checked. T is the
// compute type: operands are rounded to it.
#define MONO_MATMUL_VARIANT(name)                                                 \
  size_t matmul_##name##_workspace(const MatmulProblem& problem, DType dtype);    \
  template <class T, class A, class B, class Out>                                 \
  void matmul_##name(const MatmulProblem& problem, const Matmul<A, B, Out>& args, \
                     std::span<std::byte> workspace);
MONO_MATMUL_VARIANT(reference)
MONO_MATMUL_VARIANT(onednn)  // f32 and bf16
#undef MONO_MATMUL_VARIANT

// Of the GPU's variants (matmul.cu).
size_t matmul_gpu_workspace(MatmulVariant variant, const MatmulProblem& problem, DType dtype);

// Whether oneDNN has a quick implementation for the problem.
bool matmul_onednn_supports(const MatmulProblem& problem, DType dtype);

// An element of an operand, rounded to the compute type T, in the type E it is computed with.
template <class T, class E, class Source>
MONO_HOST_DEVICE E operand(Source value) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<E>(static_cast<Master<E>>(bf16(static_cast<float>(value))));
  else
    return static_cast<E>(value);
}

// Instantiations, beside (double, double, double, double): (compute type, A, B, Out).
#define MONO_MATMUL_FLOAT_INSTANCES(X) \
  X(float, float, float, float)        \
  X(bf16, float, float, float)         \
  X(bf16, float, float, bf16)          \
  X(bf16, float, bf16, float)          \
  X(bf16, float, bf16, bf16)           \
  X(bf16, bf16, float, float)          \
  X(bf16, bf16, float, bf16)           \
  X(bf16, bf16, bf16, float)           \
  X(bf16, bf16, bf16, bf16)

}  // namespace mono
