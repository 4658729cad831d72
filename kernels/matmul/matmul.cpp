// Matrix product: problem helpers, checks, and the choice and dispatch of variants.
#include "kernels/matmul/matmul.h"

#include <type_traits>

#include "kernels/base/error.h"
#include "kernels/matmul/matmul_variants.h"

namespace mono {

std::string MatmulProblem::to_string() const {
  return fmt::format("m{} n{} k{}{}{}", M, N, K, transpose_a ? " transpose_a" : "",
                     transpose_b ? " transpose_b" : "");
}

std::string_view name_of(MatmulVariant variant) {
  return variant == MatmulVariant::reference ? "reference" : "onednn";
}

namespace {

// The problem with packed leading dimensions filled in; throws where it makes no sense.
MatmulProblem checked(const MatmulProblem& problem) {
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

}  // namespace

bool matmul_supports(MatmulVariant variant, const MatmulProblem& problem, DType dtype) {
  return variant == MatmulVariant::reference || matmul_onednn_supports(checked(problem), dtype);
}

// The table: the quickest that runs. f64 exists for verification only, so it has no other variant.
MatmulVariant matmul_choose(const MatmulProblem& problem, DType dtype) {
  return matmul_supports(MatmulVariant::onednn, problem, dtype) ? MatmulVariant::onednn
                                                                : MatmulVariant::reference;
}

size_t matmul_workspace_bytes(MatmulVariant variant, const MatmulProblem& problem, DType dtype) {
  const MatmulProblem p = checked(problem);
  return variant == MatmulVariant::reference ? matmul_reference_workspace(p, dtype)
                                             : matmul_onednn_workspace(p, dtype);
}

template <class A, class B, class Out>
void matmul(MatmulVariant variant, const MatmulProblem& problem, DType compute,
            const Matmul<A, B, Out>& args, std::span<std::byte> workspace) {
  const MatmulProblem p = checked(problem);
  if (args.mode == GradMode::ignore) return;
  MONO_CHECK(args.a && args.b && args.c, "matmul {}: null operand", p.to_string());
  MONO_CHECK(matmul_supports(variant, p, compute),
             "matmul {}: variant {} does not run {} here; ask matmul_choose", p.to_string(),
             name_of(variant), name_of(compute));
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
  fail(ErrorKind::internal, "matmul {}: {} cannot be computed from {} and {} into {}",
       p.to_string(), name_of(compute), name_of(kDTypeOf<A>), name_of(kDTypeOf<B>),
       name_of(kDTypeOf<Out>));
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
