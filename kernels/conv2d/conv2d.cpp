// Convolution: problem helpers, checks, and the choice and dispatch of variants.
#include "kernels/conv2d/conv2d.h"

#include <type_traits>

#include "kernels/base/cpu_features.h"
#include "kernels/base/pixel_units.h"
#include "kernels/conv2d/conv2d_choices.h"
#include "kernels/conv2d/conv2d_gpu.h"
#include "kernels/conv2d/conv2d_implicit_gemm.h"
#include "kernels/conv2d/conv2d_variants.h"

namespace mono {

double ConvProblem::bytes(DType dtype) const {
  const double x = double(N) * H * W * C, y = double(N) * P() * Q() * K;
  const double w = double(K) * R * S * C;
  return (x + y) * double(size_of(dtype)) + w * double(size_of(master_of(dtype)));
}

std::string ConvProblem::to_string() const {
  std::string text =
      fmt::format("n{} h{}w{} c{} k{} r{}s{} stride{} pad{}", N, H, W, C, K, R, S, stride, pad);
  if (ldx > C) text += fmt::format(" ldx{}", ldx);
  if (ldy > K) text += fmt::format(" ldy{}", ldy);
  return text;
}

std::string_view name_of(ConvVariant variant) {
  switch (variant) {
    case ConvVariant::reference:
      return "reference";
    case ConvVariant::onednn:
      return "onednn";
    case ConvVariant::implicit_gemm:
      return "implicit_gemm";
    case ConvVariant::naive:
      return "naive";
    case ConvVariant::smem_tiled:
      return "smem_tiled";
    case ConvVariant::implicit_gemm_mma:
      return "implicit_gemm_mma";
    case ConvVariant::implicit_gemm_halo:
      return "implicit_gemm_halo";
    case ConvVariant::cudnn:
      return "cudnn";
  }
  return "?";
}

bool conv2d_supports(Device device, ConvVariant variant, ConvPass pass, const ConvProblem& problem,
                     DType dtype) {
  if (device != (conv2d_gpu::has(variant) ? kGpu : Device::cpu)) return false;
  switch (variant) {
    case ConvVariant::reference:
      return true;
    case ConvVariant::onednn:
      return conv2d_onednn_supports(pass, problem, dtype);
    case ConvVariant::implicit_gemm:
      return implicit_gemm::supports(pass, problem, dtype);
    default:
      return conv2d_gpu::supports(variant, dtype);
  }
}

namespace {

// The CPU's table, from timings of the shapes of DenseNet-161 at 128^2 and ResNet-50 at 224^2
// (README.md):
//   f64        exists for verification only
//   bf16       implicit_gemm where bf16 products are quick (1.2 to 6 times oneDNN), but for fprop
//              of packed images of 28 columns and more on AMX, where oneDNN is up to 1.5 times
//              quicker; elsewhere oneDNN, in float on rounded operands
//   f32        fprop and dgrad: implicit_gemm, quicker than oneDNN on channel slices and a few per
//              cent slower on packed tensors, at half its rounding error, which a deep network
//              multiplies; wgrad, whose error nothing multiplies: implicit_gemm on slices, which
//              oneDNN must copy, else oneDNN
ConvVariant choose_for_cpu(ConvPass pass, const ConvProblem& problem, DType dtype) {
  const bool packed = problem.ldx <= problem.C && problem.ldy <= problem.K;
  const bool onednn_quicker =
      dtype == DType::bf16
          ? !has_quick_bf16() || (cpu_isa() == CpuIsa::amx && pass == ConvPass::fprop && packed &&
                                  problem.Q() >= 28 && problem.C >= 16)
          : packed && pass == ConvPass::wgrad;
  const auto supported = [&](ConvVariant variant) {
    return conv2d_supports(Device::cpu, variant, pass, problem, dtype);
  };
  if (supported(ConvVariant::implicit_gemm) && !(onednn_quicker && supported(ConvVariant::onednn)))
    return ConvVariant::implicit_gemm;
  if (supported(ConvVariant::onednn)) return ConvVariant::onednn;
  return ConvVariant::reference;
}

}  // namespace

ConvVariant conv2d_choose(Device device, ConvPass pass, const ConvProblem& problem, DType dtype) {
  const std::optional<ConvVariant> measured = conv2d_measured_choice(device, pass, problem, dtype);
  if (measured && conv2d_supports(device, *measured, pass, problem, dtype)) return *measured;
  return device == Device::cpu ? choose_for_cpu(pass, problem, dtype)
                               : conv2d_gpu::choose(pass, problem, dtype);
}

namespace {

// The problem with packed pitches filled in; throws where it makes no sense.
ConvProblem checked(const ConvProblem& problem) {
  ConvProblem p = problem;
  if (p.ldx == 0) p.ldx = p.C;
  if (p.ldy == 0) p.ldy = p.K;
  MONO_CHECK(p.N >= 1 && p.H >= 1 && p.W >= 1 && p.C >= 1 && p.K >= 1 && p.R >= 1 && p.S >= 1 &&
                 p.stride >= 1 && p.pad >= 0,
             "conv2d {}: every extent must be positive", p.to_string());
  MONO_CHECK(p.H + 2 * p.pad >= p.R && p.W + 2 * p.pad >= p.S,
             "conv2d {}: the filter is larger than the padded image", p.to_string());
  MONO_CHECK(p.ldx >= p.C && p.ldy >= p.K, "conv2d {}: pitches {} and {} must hold {} and {}",
             p.to_string(), p.ldx, p.ldy, p.C, p.K);
  return p;
}

void check_workspace(Stream stream, ConvVariant variant, ConvPass pass, const ConvProblem& p,
                     DType dtype, Segments segments, std::span<std::byte> workspace) {
  MONO_CHECK(conv2d_supports(stream.device, variant, pass, p, dtype),
             "conv2d {}: variant {} does not run {} on the {} here; ask conv2d_choose",
             p.to_string(), name_of(variant), name_of(dtype), name_of(stream.device));
  MONO_CHECK(!stream.on_gpu() || segments.gpu_offsets,
             "conv2d {}: a GPU needs the segments' gpu_offsets", p.to_string());
  const size_t needed = conv2d_workspace_bytes(variant, pass, p, dtype, segments.count);
  MONO_CHECK(workspace.size() >= needed, "conv2d {}: workspace of {} bytes, {} needed",
             p.to_string(), workspace.size(), needed);
}

}  // namespace

size_t conv2d_workspace_bytes(ConvVariant variant, ConvPass pass, const ConvProblem& problem,
                              DType dtype, int segments) {
  const ConvProblem p = checked(problem);
  switch (variant) {
    case ConvVariant::reference:
      return conv2d_reference_workspace(pass, p, dtype, segments);
    case ConvVariant::onednn:
      return conv2d_onednn_workspace(pass, p, dtype, segments);
    case ConvVariant::implicit_gemm:
      return implicit_gemm::workspace_bytes(pass, p, dtype, segments);
    default:
      return conv2d_gpu::workspace_bytes(variant, pass, p, dtype, segments);
  }
}

template <class T>
void conv2d_fprop(Stream stream, ConvVariant variant, const ConvProblem& problem,
                  const ConvFprop<T>& args, std::span<std::byte> workspace) {
  const ConvProblem p = checked(problem);
  check_segments("conv2d", args.segments, p.N);
  check_workspace(stream, variant, ConvPass::fprop, p, kDTypeOf<T>, args.segments, workspace);
  MONO_CHECK(args.x && args.w && args.y, "conv2d_fprop {}: null operand", p.to_string());
  MONO_CHECK(!args.prologue.scale == !args.prologue.shift &&
                 !args.moments.mean == !args.moments.variance &&
                 (!args.moments.mean || args.moments.ld >= p.K),
             "conv2d_fprop {}: scale goes with shift, mean with variance, both at a pitch of at "
             "least {} (got {})",
             p.to_string(), p.K, args.moments.ld);
  switch (variant) {
    case ConvVariant::reference:
      return conv2d_reference_fprop<T>(p, args, workspace);
    case ConvVariant::onednn:
      if constexpr (!std::is_same_v<T, double>) return conv2d_onednn_fprop<T>(p, args, workspace);
      break;
    case ConvVariant::implicit_gemm:
      if constexpr (!std::is_same_v<T, double>) return implicit_gemm::fprop<T>(p, args, workspace);
      break;
    default:
      if constexpr (!std::is_same_v<T, double>)
        return conv2d_gpu::fprop<T>(stream, variant, p, args, workspace);
      break;
  }
}

template <class T, class GradT>
void conv2d_dgrad(Stream stream, ConvVariant variant, const ConvProblem& problem,
                  const ConvDgrad<T, GradT>& arguments, std::span<std::byte> workspace) {
  const ConvProblem p = checked(problem);
  ConvDgrad<T, GradT> args = arguments;
  if (args.lddy == 0) args.lddy = p.ldy;
  if (args.lddx == 0) args.lddx = p.ldx;
  check_segments("conv2d", args.segments, p.N);
  check_workspace(stream, variant, ConvPass::dgrad, p, kDTypeOf<T>, args.segments, workspace);
  MONO_CHECK(args.dy && args.w && (args.dx || args.mode == GradMode::ignore),
             "conv2d_dgrad {}: null operand", p.to_string());
  MONO_CHECK(args.lddy >= p.K && args.lddx >= p.C,
             "conv2d_dgrad {}: pitches of dy and dx ({}, {}) must hold {} and {}", p.to_string(),
             args.lddy, args.lddx, p.K, p.C);
  MONO_CHECK(!args.b || (args.c && args.y), "conv2d_dgrad {}: b needs c and y", p.to_string());
  MONO_CHECK(!args.mask.scale == !args.mask.shift && (!args.mask.scale || args.x),
             "conv2d_dgrad {}: a mask needs scale, shift and x", p.to_string());
  MONO_CHECK(args.mask.scale || (!args.sum_dz && !args.sum_dzx),
             "conv2d_dgrad {}: sums need a mask", p.to_string());
  MONO_CHECK(!args.sum_dzx || (args.mean && args.mean_ld >= (args.segments.count > 1 ? p.C : 0)),
             "conv2d_dgrad {}: sum_dzx needs mean at a pitch of at least {} (got {})",
             p.to_string(), p.C, args.mean_ld);
  switch (variant) {
    case ConvVariant::reference:
      return conv2d_reference_dgrad<T, GradT>(p, args, workspace);
    case ConvVariant::onednn:
      if constexpr (!std::is_same_v<T, double>)
        return conv2d_onednn_dgrad<T, GradT>(p, args, workspace);
      break;
    case ConvVariant::implicit_gemm:
      if constexpr (!std::is_same_v<T, double>)
        return implicit_gemm::dgrad<T, GradT>(p, args, workspace);
      break;
    default:
      if constexpr (!std::is_same_v<T, double>)
        return conv2d_gpu::dgrad<T, GradT>(stream, variant, p, args, workspace);
      break;
  }
}

template <class T>
void conv2d_wgrad(Stream stream, ConvVariant variant, const ConvProblem& problem,
                  const ConvWgrad<T>& arguments, std::span<std::byte> workspace) {
  const ConvProblem p = checked(problem);
  ConvWgrad<T> args = arguments;
  if (args.ldg == 0) args.ldg = p.ldy;
  check_segments("conv2d", args.segments, p.N);
  check_workspace(stream, variant, ConvPass::wgrad, p, kDTypeOf<T>, args.segments, workspace);
  if (args.mode == GradMode::ignore) return;
  MONO_CHECK(args.x && args.g && args.dw, "conv2d_wgrad {}: null operand", p.to_string());
  MONO_CHECK(args.ldg >= p.K, "conv2d_wgrad {}: pitch {} of g must hold {}", p.to_string(),
             args.ldg, p.K);
  MONO_CHECK(!args.prologue.scale == !args.prologue.shift, "conv2d_wgrad {}: scale goes with shift",
             p.to_string());
  switch (variant) {
    case ConvVariant::reference:
      return conv2d_reference_wgrad<T>(p, args, workspace);
    case ConvVariant::onednn:
      if constexpr (!std::is_same_v<T, double>) return conv2d_onednn_wgrad<T>(p, args, workspace);
      break;
    case ConvVariant::implicit_gemm:
      if constexpr (!std::is_same_v<T, double>) return implicit_gemm::wgrad<T>(p, args, workspace);
      break;
    default:
      if constexpr (!std::is_same_v<T, double>)
        return conv2d_gpu::wgrad<T>(stream, variant, p, args, workspace);
      break;
  }
}

#define MONO_INSTANCE(T)                                                                   \
  template void conv2d_fprop(Stream, ConvVariant, const ConvProblem&, const ConvFprop<T>&, \
                             std::span<std::byte>);                                        \
  template void conv2d_wgrad(Stream, ConvVariant, const ConvProblem&, const ConvWgrad<T>&, \
                             std::span<std::byte>);
#define MONO_DGRAD_INSTANCE(T, GradT)                                                             \
  template void conv2d_dgrad(Stream, ConvVariant, const ConvProblem&, const ConvDgrad<T, GradT>&, \
                             std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_INSTANCE(double)
MONO_DGRAD_INSTANCE(float, float)
MONO_DGRAD_INSTANCE(bf16, bf16)
MONO_DGRAD_INSTANCE(bf16, float)
MONO_DGRAD_INSTANCE(double, double)

}  // namespace mono
