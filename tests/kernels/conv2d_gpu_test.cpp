// The convolutions of the GPU on the cases of conv2d_cases.h, by the same rule as the CPU's: at
// most twice the error of the plain computation in the same type, under every schedule of the
// emulator.
#include "kernels/conv2d/conv2d.h"

#include <string>
#include <vector>

#include "tests/kernels/conv2d_gpu_cases.h"

namespace mono {
namespace {

using namespace conv2d_test;

constexpr ConvVariant kVariants[] = {ConvVariant::naive, ConvVariant::smem_tiled,
                                     ConvVariant::implicit_gemm_mma, ConvVariant::cudnn};

template <class T, class GradT>
Results<T, GradT> run(ConvVariant variant, const Case& test, const Operands<T, GradT>& operands) {
  const ConvProblem& p = test.problem;
  return run_on_gpu(test, operands, [&](Stream stream, auto& in, auto& out) {
    const auto workspace = [&](ConvPass pass) {  // fresh, so NaN on the emulator
      const size_t bytes = conv2d_workspace_bytes(variant, pass, p, kDTypeOf<T>, test.segments());
      return GpuArray<std::byte>(stream, static_cast<int64_t>(bytes));
    };
    const auto all = [&](const GpuArray<std::byte>& array, ConvPass pass) {
      return std::span(array.data(),
                       conv2d_workspace_bytes(variant, pass, p, kDTypeOf<T>, test.segments()));
    };
    const auto f = workspace(ConvPass::fprop), d = workspace(ConvPass::dgrad),
               w = workspace(ConvPass::wgrad);
    if (std::is_same_v<T, GradT>)  // else they have run already, with the same types
      conv2d_fprop<T>(stream, variant, p, fprop_arguments(test, in, out), all(f, ConvPass::fprop));
    conv2d_dgrad<T, GradT>(stream, variant, p, dgrad_arguments(test, in, out),
                           all(d, ConvPass::dgrad));
    if (std::is_same_v<T, GradT>)
      conv2d_wgrad<T>(stream, variant, p, wgrad_arguments(test, in, out), all(w, ConvPass::wgrad));
  });
}

bool is_of_dgrad(std::string_view name) {
  return name == "g_out" || name == "dx" || name == "sum_dz" || name == "sum_dzx";
}

// A case in one type, with what is allowed for each of its results.
template <class T, class GradT>
struct Expectation {
  const Case* test;
  Operands<T, GradT> in;
  std::vector<double> allowed;

  Expectation(const Case& c, Results<double, double>& truth) : test(&c), in(c) {
    Results<T, GradT> plain = oracle<T, GradT>(c);
    Results<T, GradT>::for_each(
        [&](const char*, auto& mine, auto& exact) {
          allowed.push_back(2 * relative_error(mine, exact) + kErrorFloor<T>);
        },
        plain, truth);
  }

  void check(Results<double, double>& truth) const {
    for (ConvVariant variant : kVariants) {
      if (!supported(kGpu, variant, test->problem, kDTypeOf<T>)) continue;
      SCOPED_TRACE(fmt::format("{} {} {}", name_of(variant), name_of(kDTypeOf<T>),
                               test->problem.to_string()));
      Results<T, GradT> result = run<T, GradT>(variant, *test, in);
      // A library's dz and dw are rounded to bf16 in between (conv2d_library.h).
      const bool rounds = variant == ConvVariant::cudnn && kDTypeOf<T> == DType::bf16;
      size_t i = 0;
      Results<T, GradT>::for_each(
          [&](const char* name, auto& mine, auto& exact) {
            const double most = allowed[i++] + (rounds ? 0.1 : 0);
            if (!std::is_same_v<T, GradT> && !is_of_dgrad(name)) return;
            EXPECT_LE(relative_error(mine, exact), most) << name;
          },
          result, truth);
    }
  }
};

// Small cases under every schedule, the others under one each, in turn.
TEST(Conv2dGpu, AgreesWithTheOracle) {
  int first = 0;
  for (const Case& test : kCases) {
    Results<double, double> truth = oracle<double, double>(test);
    const Expectation<float, float> f32(test, truth);
    const Expectation<bf16, bf16> bf16s(test, truth);
    const Expectation<bf16, float> mixed(test, truth);
    const bool small = test.problem.flops() < 1e6;
    int turn = first++;
    for_each_schedule([&] {
      if (turn++ % 4 != 0 && !small) return;
      f32.check(truth);
      bf16s.check(truth);
      mixed.check(truth);
    });
  }
}

}  // namespace
}  // namespace mono
