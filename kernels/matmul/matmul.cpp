// Matrix product: problem helpers, checks, and the choice and dispatch of variants.
#include "kernels/matmul/matmul.h"

#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include "kernels/matmul/matmul_variants.h"

namespace mono {

std::string MatmulProblem::to_string() const {
  return fmt::format("m{} n{} k{}{}{}", M, N, K, transpose_a ? " transpose_a" : "",
                     transpose_b ? " transpose_b" : "");
}

std::string_view name_of(MatmulVariant variant) {
  switch (variant) {
    case MatmulVariant::reference:
      return "reference";
    case MatmulVariant::onednn:
      return "onednn";
    case MatmulVariant::naive:
      return "naive";
    case MatmulVariant::smem_tiled:
      return "smem_tiled";
    case MatmulVariant::mma:
      return "mma";
    case MatmulVariant::cublaslt:
      return "cublaslt";
  }
  return "?";
}

namespace {
bool is_of_gpu(MatmulVariant variant) {
  return variant >= MatmulVariant::naive;
}
}  // namespace

MatmulProblem matmul_checked(const MatmulProblem& problem) {
  MatmulProblem p = problem;
  MONO_CHECK(p.M >= 1 && p.N >= 1 && p.K >= 1, "matmul {}: every extent must be positive",
             p.to_string());
  const int columns_a = p.transpose_a ? p.M : p.K, columns_b = p.transpose_b ? p.K : p.N;
  if (p.lda == 0) p.lda = columns_a;
  if (p.ldb == 0) p.ldb = columns_b;
  if (p.ldc == 0) p.ldc = p.N;
  MONO_CHECK(p.lda >= columns_a && p.ldb >= columns_b && p.ldc >= p.N,
             "matmul {}: leading dimensions {}, {}, {} must hold {}, {}, {}", p.to_string(), p.lda,
             p.ldb, p.ldc, columns_a, columns_b, p.N);
  return p;
}

void matmul_check_call(Device device, MatmulVariant variant, const MatmulProblem& p, DType compute,
                       bool operands) {
  MONO_CHECK(operands, "matmul {}: a null operand, or a residual where C is added to",
             p.to_string());
  MONO_CHECK(matmul_supports(device, variant, p, compute),
             "matmul {}: variant {} does not run {} on the {}; ask matmul_choose", p.to_string(),
             name_of(variant), name_of(compute), name_of(device));
}

void matmul_fail_types(const MatmulProblem& p, DType compute, DType a, DType b, DType out) {
  fail(ErrorKind::internal, "matmul {}: {} cannot be computed from {} and {} into {}",
       p.to_string(), name_of(compute), name_of(a), name_of(b), name_of(out));
}

bool matmul_supports(Device device, MatmulVariant variant, const MatmulProblem& problem,
                     DType dtype) {
  const MatmulProblem p = matmul_checked(problem);
  if (device != (is_of_gpu(variant) ? kGpu : Device::cpu)) return false;
  switch (variant) {
    case MatmulVariant::reference:
    case MatmulVariant::naive:
      return true;
    case MatmulVariant::onednn:
      return matmul_onednn_supports(p, dtype);
    case MatmulVariant::smem_tiled:
      return dtype == DType::f32;
    case MatmulVariant::mma:
      return dtype == DType::bf16;
    case MatmulVariant::cublaslt:
      if constexpr (kGpu == Device::cuda) return dtype != DType::f64 && cublaslt_found();
      return false;
  }
  return false;
}

// The table: the quickest that runs. f64 exists for verification only, so it has no other variant.
MatmulVariant matmul_choose(Device device, const MatmulProblem& problem, DType dtype) {
  using enum MatmulVariant;
  if (device != Device::cpu)
    return dtype == DType::bf16 ? mma : dtype == DType::f32 ? smem_tiled : naive;
  return matmul_supports(device, onednn, problem, dtype) ? onednn : reference;
}

size_t matmul_workspace_bytes(MatmulVariant variant, const MatmulProblem& problem, DType dtype) {
  const MatmulProblem p = matmul_checked(problem);
  if (is_of_gpu(variant)) return matmul_gpu_workspace(variant, p, dtype);
  return variant == MatmulVariant::reference ? matmul_reference_workspace(p, dtype)
                                             : matmul_onednn_workspace(p, dtype);
}

template <class A, class B, class Out>
void matmul(MatmulVariant variant, const MatmulProblem& problem, DType compute,
            const Matmul<A, B, Out>& args, std::span<std::byte> workspace) {
  const MatmulProblem p = matmul_checked(problem);
  if (args.mode == GradMode::ignore) return;
  matmul_check_call(Device::cpu, variant, p, compute, matmul_operands(args));
  const bool reference = variant == MatmulVariant::reference;
  if constexpr (std::is_same_v<A, double>) {
    if (compute == DType::f64) return matmul_reference<double>(p, args, workspace);
  } else {
    if constexpr (std::is_same_v<A, float> && std::is_same_v<B, float> &&
                  std::is_same_v<Out, float>)
      if (compute == DType::f32)
        return reference ? matmul_reference<float>(p, args, workspace)
                         : matmul_onednn<float>(p, args, workspace);
    if (compute == DType::bf16)
      return reference ? matmul_reference<bf16>(p, args, workspace)
                       : matmul_onednn<bf16>(p, args, workspace);
  }
  matmul_fail_types(p, compute, kDTypeOf<A>, kDTypeOf<B>, kDTypeOf<Out>);
}

#define MONO_INSTANCE(A, B, Out)                                                             \
  template void matmul(MatmulVariant, const MatmulProblem&, DType, const Matmul<A, B, Out>&, \
                       std::span<std::byte>);
MONO_INSTANCE(float, float, float)
MONO_INSTANCE(float, float, bf16)
MONO_INSTANCE(float, bf16, float)
MONO_INSTANCE(float, bf16, bf16)
MONO_INSTANCE(bf16, float, float)
MONO_INSTANCE(bf16, float, bf16)
MONO_INSTANCE(bf16, bf16, float)
MONO_INSTANCE(bf16, bf16, bf16)
MONO_INSTANCE(double, double, double)

}  // namespace mono
