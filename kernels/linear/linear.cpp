// Linear layer: checks, and the choice and dispatch of variants.
#include "kernels/linear/linear.h"

#include "kernels/linear/linear_variants.h"

namespace mono {

std::string LinearProblem::to_string() const {
  constexpr const char* kNames[] = {"", " layer_norm", " gelu"};
  return fmt::format("rows{} {}->{}{}", rows, in, out, kNames[static_cast<int>(prologue)]);
}

std::string_view name_of(LinearVariant variant) {
  switch (variant) {
    case LinearVariant::reference:
      return "reference";
    case LinearVariant::composed:
      return "composed";
    case LinearVariant::fused:
      return "fused";
  }
  return "?";
}

void check_linear(const LinearProblem& p) {
  MONO_CHECK(p.rows >= 1 && p.in >= 1 && p.out >= 1 && p.rows_per_keep >= 1 && p.eps >= 0,
             "linear {}: every extent must be positive", p.to_string());
}

namespace {

MatmulVariant reference_matmul(Device device, const MatmulProblem&, DType) {
  return device == Device::cpu ? MatmulVariant::reference : MatmulVariant::naive;
}
ChooseMatmul matmul_of(LinearVariant variant) {
  return variant == LinearVariant::reference ? reference_matmul : matmul_choose;
}

void check_call(Device device, LinearVariant variant, const LinearProblem& p, DType dtype,
                bool operands) {
  MONO_CHECK(operands, "linear {}: a null operand", p.to_string());
  MONO_CHECK(linear_supports(device, variant, p, dtype),
             "linear {}: variant {} does not run {} on the {}; ask linear_choose", p.to_string(),
             name_of(variant), name_of(dtype), name_of(device));
}

}  // namespace

bool linear_supports(Device device, LinearVariant variant, const LinearProblem& problem, DType) {
  check_linear(problem);
  switch (variant) {
    case LinearVariant::reference:
    case LinearVariant::composed:
      return true;
    case LinearVariant::fused:
      return device == Device::cpu;
  }
  return false;
}

LinearVariant linear_choose(Device device, const LinearProblem&, DType) {
  return device == Device::cpu ? LinearVariant::fused : LinearVariant::composed;
}

size_t linear_workspace_bytes(Device device, LinearVariant variant, LinearPass pass,
                              const LinearProblem& problem, DType dtype) {
  check_linear(problem);
  if (variant == LinearVariant::fused) return linear_fused_workspace(pass, problem, dtype);
  return linear_composed_workspace(device, matmul_of(variant), pass, problem, dtype);
}

template <class T>
void linear_forward(Stream stream, LinearVariant variant, const LinearProblem& problem,
                    const LinearForward<T>& args, std::span<std::byte> workspace) {
  const bool norm = problem.prologue == LinearPrologue::layer_norm;
  check_call(stream.device, variant, problem, kDTypeOf<T>,
             args.x && args.w && args.y && (!norm || (args.gamma && args.beta)));
  if (variant == LinearVariant::fused) return linear_fused_forward<T>(problem, args, workspace);
  linear_composed_forward<T>(stream, matmul_of(variant), problem, args, workspace);
}

template <class T>
void linear_backward(Stream stream, LinearVariant variant, const LinearProblem& problem,
                     const LinearBackward<T>& args, std::span<std::byte> workspace) {
  const bool norm = problem.prologue == LinearPrologue::layer_norm;
  check_call(stream.device, variant, problem, kDTypeOf<T>,
             args.dy && args.x && args.w &&
                 (!norm || (args.gamma && args.beta && args.mean && args.inv_std &&
                            args.dgamma.data && args.dbeta.data)));
  if (variant == LinearVariant::fused) return linear_fused_backward<T>(problem, args, workspace);
  linear_composed_backward<T>(stream, matmul_of(variant), problem, args, workspace);
}

#define MONO_INSTANTIATE(T)                                                    \
  template void linear_forward(Stream, LinearVariant, const LinearProblem&,    \
                               const LinearForward<T>&, std::span<std::byte>); \
  template void linear_backward(Stream, LinearVariant, const LinearProblem&,   \
                                const LinearBackward<T>&, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
