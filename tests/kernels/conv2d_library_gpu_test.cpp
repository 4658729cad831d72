// What surrounds a library's convolution, with the naive variant in the library's place: the same
// results as that variant alone, but for the roundings to T in between.
#include "kernels/conv2d/conv2d_library.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"
#include "tests/kernels/conv2d_gpu_cases.h"

namespace mono {
namespace {

using namespace conv2d_test;

constexpr ConvVariant kNaive = ConvVariant::naive;

struct OneSegment {
  std::vector<int> offsets;
  GpuArray<int> on_gpu;
  Segments segments;

  OneSegment(Stream stream, int N)
      : offsets{0, N}, on_gpu(stream, offsets), segments{1, offsets.data(), on_gpu.data()} {}
};

size_t workspace_bytes(ConvPass pass, const ConvProblem& p, DType dtype) {
  return conv2d_workspace_bytes(kNaive, pass, p, dtype, 1);
}

template <class T>
void run_plain(Stream stream, ConvPass pass, const ConvProblem& p,
               const conv2d_gpu::PlainOperands& operands, std::span<std::byte> workspace) {
  const OneSegment one(stream, p.N);
  T* const x = static_cast<T*>(operands.x);
  T* const w = static_cast<T*>(operands.w);
  T* const y = static_cast<T*>(operands.y);
  const int64_t weights = int64_t{p.K} * p.R * p.S * p.C;
  const GpuArray<float> filter(stream, weights);
  if (pass != ConvPass::wgrad) convert<float, T>(stream, weights, w, filter.data());
  ConvFprop<T> fprop;
  fprop.x = x;
  fprop.w = filter.data();
  fprop.y = y;
  ConvDgrad<T, T> dgrad;
  dgrad.dy = y;
  dgrad.w = filter.data();
  dgrad.dx = x;
  ConvWgrad<T> wgrad;
  wgrad.x = x;
  wgrad.g = y;
  wgrad.dw = filter.data();
  fprop.segments = dgrad.segments = wgrad.segments = one.segments;
  if (pass == ConvPass::fprop) conv2d_fprop<T>(stream, kNaive, p, fprop, workspace);
  if (pass == ConvPass::dgrad) conv2d_dgrad<T, T>(stream, kNaive, p, dgrad, workspace);
  if (pass == ConvPass::wgrad) conv2d_wgrad<T>(stream, kNaive, p, wgrad, workspace);
  if (pass == ConvPass::wgrad) convert<T, float>(stream, weights, filter.data(), w);
}

constexpr conv2d_gpu::PlainConvolution kPlain = {
    workspace_bytes, [](Stream stream, ConvPass pass, const ConvProblem& p, DType dtype,
                        const conv2d_gpu::PlainOperands& operands, std::span<std::byte> workspace) {
      dtype == DType::f32 ? run_plain<float>(stream, pass, p, operands, workspace)
                          : run_plain<bf16>(stream, pass, p, operands, workspace);
    }};

// A fresh workspace for a pass.
struct Scratch {
  size_t bytes;
  GpuArray<std::byte> memory;

  Scratch(Stream stream, size_t n) : bytes(n), memory(stream, static_cast<int64_t>(n)) {}
  std::span<std::byte> span() const { return {memory.data(), bytes}; }
};

// Root mean square difference over the root mean square.
template <class T>
double rms_difference(const GuardedArray<T>& a, const GuardedArray<T>& b) {
  double difference = 0, square = 0;
  for (int64_t i = 0; i < a.size(); ++i) {
    difference += std::pow(to_double(a[i]) - to_double(b[i]), 2);
    square += std::pow(to_double(b[i]), 2);
  }
  return difference == 0 ? 0 : std::sqrt(difference / square);
}

template <class T, class GradT>
void check(const Case& test) {
  const ConvProblem& p = test.problem;
  const int S = test.segments();
  SCOPED_TRACE(fmt::format("{} {}", name_of(kDTypeOf<T>), p.to_string()));
  const Operands<T, GradT> operands(test);
  auto want = run_on_gpu(test, operands, [&](Stream stream, auto& in, auto& out) {
    const auto scratch = [&](ConvPass pass) {
      return Scratch(stream, conv2d_workspace_bytes(kNaive, pass, p, kDTypeOf<T>, S));
    };
    const Scratch f = scratch(ConvPass::fprop), d = scratch(ConvPass::dgrad),
                  w = scratch(ConvPass::wgrad);
    conv2d_fprop<T>(stream, kNaive, p, fprop_arguments(test, in, out), f.span());
    conv2d_dgrad<T, GradT>(stream, kNaive, p, dgrad_arguments(test, in, out), d.span());
    conv2d_wgrad<T>(stream, kNaive, p, wgrad_arguments(test, in, out), w.span());
  });
  auto got = run_on_gpu(test, operands, [&](Stream stream, auto& in, auto& out) {
    using namespace conv2d_gpu;
    const auto scratch = [&](ConvPass pass) {
      return Scratch(stream, library_workspace_bytes(kPlain, pass, p, kDTypeOf<T>, S));
    };
    const Scratch f = scratch(ConvPass::fprop), d = scratch(ConvPass::dgrad),
                  w = scratch(ConvPass::wgrad);
    auto dgrad = dgrad_arguments(test, in, out);
    dgrad.lddy = p.ldy;  // as conv2d_dgrad hands them on
    dgrad.lddx = p.ldx;
    auto wgrad = wgrad_arguments(test, in, out);
    wgrad.ldg = p.ldy;
    library_fprop<T>(stream, kPlain, p, fprop_arguments(test, in, out), f.span());
    library_dgrad<T, GradT>(stream, kPlain, p, dgrad, d.span());
    library_wgrad<T>(stream, kPlain, p, wgrad, w.span());
  });
  Results<T, GradT>::for_each(
      [](const char* name, auto& mine, auto& exact) {
        EXPECT_LE(rms_difference(mine, exact), kDTypeOf<T> == DType::f32 ? 2e-6 : 0x1p-6)
            << name;  // sums may cancel
      },
      got, want);
}

TEST(Conv2dLibraryGpu, EqualsTheVariantInTheLibrarysPlace) {
  for (const Case& test : kCases) {
    if (test.problem.flops() > 2e6) continue;
    const auto once = [&] {
      check<float, float>(test);
      check<bf16, bf16>(test);
      check<bf16, float>(test);
    };
    test.problem.flops() < 1e5 ? for_each_schedule(once) : for_one_schedule(once);
  }
}

}  // namespace
}  // namespace mono
