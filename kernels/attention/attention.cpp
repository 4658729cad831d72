// Attention: problem helpers, checks, and the choice and dispatch of variants of the CPU.
#include "kernels/attention/attention.h"

#include <type_traits>

#include "kernels/attention/attention_variants.h"
#include "kernels/base/cpu_features.h"

namespace mono {

std::string_view name_of(AttentionPass pass) {
  return pass == AttentionPass::forward ? "forward" : "backward";
}

std::string_view name_of(AttentionVariant variant) {
  switch (variant) {
    case AttentionVariant::reference:
      return "reference";
    case AttentionVariant::blocked:
      return "blocked";
    case AttentionVariant::amx:
      return "amx";
    case AttentionVariant::naive:
      return "naive";
    case AttentionVariant::flash:
      return "flash";
    case AttentionVariant::flash_mma:
      return "flash_mma";
  }
  return "?";
}

double AttentionProblem::bytes(AttentionPass pass, DType dtype) const {
  const double rows = double(N) * T, element = static_cast<double>(size_of(dtype));
  const double lse = rows * heads * static_cast<double>(size_of(master_of(dtype)));
  return rows * width() * (pass == AttentionPass::forward ? 4 : 8) * element + lse;
}

std::string AttentionProblem::to_string() const {
  return fmt::format("n{} t{} h{} d{}", N, T, heads, head_dim);
}

namespace {
bool is_of_gpu(AttentionVariant variant) {
  return variant >= AttentionVariant::naive;
}
}  // namespace

AttentionProblem attention_checked(const AttentionProblem& problem) {
  AttentionProblem p = problem;
  MONO_CHECK(p.N >= 1 && p.T >= 1 && p.heads >= 1, "attention {}: every extent must be positive",
             p.to_string());
  MONO_CHECK(p.head_dim >= 8 && p.head_dim % 8 == 0 && p.head_dim <= kMostHeadDim,
             "attention {}: head_dim must be a multiple of 8 and {} at most", p.to_string(),
             kMostHeadDim);
  if (p.ld_qkv == 0) p.ld_qkv = 3 * p.width();
  if (p.ld_out == 0) p.ld_out = p.width();
  MONO_CHECK(p.ld_qkv >= 3 * p.width() && p.ld_out >= p.width(),
             "attention {}: pitches {} and {} must hold {} and {}", p.to_string(), p.ld_qkv,
             p.ld_out, 3 * p.width(), p.width());
  return p;
}

void attention_check_call(Device device, AttentionVariant variant, const AttentionProblem& p,
                          DType dtype, bool operands) {
  MONO_CHECK(operands, "attention {}: null operand", p.to_string());
  MONO_CHECK(attention_supports(device, variant, p, dtype),
             "attention {}: variant {} does not run {} on the {}; ask attention_choose",
             p.to_string(), name_of(variant), name_of(dtype), name_of(device));
}

bool attention_supports(Device device, AttentionVariant variant, const AttentionProblem& problem,
                        DType dtype) {
  const AttentionProblem p = attention_checked(problem);
  if (device != (is_of_gpu(variant) ? kGpu : Device::cpu)) return false;
  switch (variant) {
    case AttentionVariant::reference:
    case AttentionVariant::naive:
      return true;
    case AttentionVariant::blocked:
    case AttentionVariant::flash:
      return dtype != DType::f64;
    case AttentionVariant::amx:
      return dtype == DType::bf16 && cpu_isa() >= CpuIsa::amx;
    case AttentionVariant::flash_mma:  // rows of whole 16 bytes
      return dtype == DType::bf16 && p.ld_qkv % 8 == 0 && p.ld_out % 8 == 0;
  }
  return false;
}

AttentionVariant attention_choose(Device device, const AttentionProblem& problem, DType dtype) {
  using enum AttentionVariant;
  for (const AttentionVariant variant : {amx, blocked, flash_mma, flash})
    if (attention_supports(device, variant, problem, dtype)) return variant;
  return device == Device::cpu ? reference : naive;
}

size_t attention_workspace_bytes(AttentionVariant variant, AttentionPass pass,
                                 const AttentionProblem& problem, DType dtype) {
  const AttentionProblem p = attention_checked(problem);
  if (is_of_gpu(variant)) return attention_gpu_workspace(variant, pass, p, dtype);
  switch (variant) {
    case AttentionVariant::blocked:
      return attention_blocked_workspace(pass, p, dtype);
    case AttentionVariant::amx:
      return attention_amx_workspace(pass, p, dtype);
    default:
      return attention_reference_workspace(pass, p, dtype);
  }
}

template <class T>
void attention_forward(AttentionVariant variant, const AttentionProblem& problem,
                       const AttentionForward<T>& args, std::span<std::byte> workspace) {
  const AttentionProblem p = attention_checked(problem);
  attention_check_call(Device::cpu, variant, p, kDTypeOf<T>, args.qkv && args.out);
  if constexpr (std::is_same_v<T, bf16>)
    if (variant == AttentionVariant::amx) return attention_amx_forward<T>(p, args, workspace);
  if constexpr (!std::is_same_v<T, double>)
    if (variant == AttentionVariant::blocked)
      return attention_blocked_forward<T>(p, args, workspace);
  attention_reference_forward<T>(p, args, workspace);
}

template <class T>
void attention_backward(AttentionVariant variant, const AttentionProblem& problem,
                        const AttentionBackward<T>& args, std::span<std::byte> workspace) {
  const AttentionProblem p = attention_checked(problem);
  if (args.mode == GradMode::ignore) return;
  attention_check_call(Device::cpu, variant, p, kDTypeOf<T>,
                       args.qkv && args.out && args.dout && args.lse && args.dqkv);
  if constexpr (std::is_same_v<T, bf16>)
    if (variant == AttentionVariant::amx) return attention_amx_backward<T>(p, args, workspace);
  if constexpr (!std::is_same_v<T, double>)
    if (variant == AttentionVariant::blocked)
      return attention_blocked_backward<T>(p, args, workspace);
  attention_reference_backward<T>(p, args, workspace);
}

#define MONO_INSTANCE(T)                                                             \
  template void attention_forward(AttentionVariant, const AttentionProblem&,         \
                                  const AttentionForward<T>&, std::span<std::byte>); \
  template void attention_backward(AttentionVariant, const AttentionProblem&,        \
                                   const AttentionBackward<T>&, std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_INSTANCE(double)

}  // namespace mono
