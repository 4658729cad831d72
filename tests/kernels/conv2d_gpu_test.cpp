// The convolutions of the GPU on the cases of conv2d_cases.h, by the same rule as the CPU's: at
// most twice the error of the plain computation in the same type, under every schedule of the
// emulator.
#include "kernels/conv2d/conv2d.h"

#include <limits>
#include <string_view>
#include <vector>

#include "tests/kernels/conv2d_gpu_cases.h"

namespace mono {
namespace {

using namespace conv2d_test;

constexpr ConvVariant kVariants[] = {ConvVariant::naive, ConvVariant::smem_tiled,
                                     ConvVariant::implicit_gemm_mma,
                                     ConvVariant::implicit_gemm_halo, ConvVariant::cudnn};

// Scratch of a pass; fresh, so NaN on the emulator.
struct GpuScratch {
  size_t bytes;
  GpuArray<std::byte> array;

  GpuScratch(Stream stream, ConvVariant variant, ConvPass pass, const Case& test, DType dtype)
      : bytes(conv2d_workspace_bytes(variant, pass, test.problem, dtype, test.segments())),
        array(stream, static_cast<int64_t>(bytes)) {}
  operator std::span<std::byte>() const { return {array.data(), bytes}; }
};

template <class T, class GradT>
Results<T, GradT> run_variant(ConvVariant variant, const Case& test,
                              const Operands<T, GradT>& operands) {
  return run_on_gpu(test, operands, [&](Stream stream, auto& in, auto& out) {
    const auto scratch = [&](ConvPass pass) {
      return GpuScratch(stream, variant, pass, test, kDTypeOf<T>);
    };
    const GpuScratch f = scratch(ConvPass::fprop), d = scratch(ConvPass::dgrad),
                     w = scratch(ConvPass::wgrad);
    conv2d_dgrad<T, GradT>(stream, variant, test.problem, dgrad_arguments(test, in, out), d);
    if (!std::is_same_v<T, GradT>) return;  // they have run already, with the same types
    conv2d_fprop<T>(stream, variant, test.problem, fprop_arguments(test, in, out), f);
    conv2d_wgrad<T>(stream, variant, test.problem, wgrad_arguments(test, in, out), w);
  });
}

bool is_of_dgrad(std::string_view name) {
  return name == "g_out" || name == "dx" || name == "sum_dz" || name == "sum_dzx";
}

// implicit_gemm_halo is implicit_gemm_mma for all other filters.
bool is_a_case_of(ConvVariant variant, const ConvProblem& p) {
  return variant != ConvVariant::implicit_gemm_halo ||
         (p.stride == 1 && p.R > 1 && p.P() == p.H && p.Q() == p.W);
}

// A case in one type, with what is allowed for each of its results. With GradT other than T only
// dgrad's: the other passes have run with the same types.
template <class T, class GradT>
struct Expectation {
  static constexpr bool kAllPasses = std::is_same_v<T, GradT>;
  const Case* test;
  Operands<T, GradT> in;
  std::vector<double> allowed;

  Expectation(const Case& c, Results<double, double>& truth) : test(&c), in(c) {
    Results<T, GradT> plain(c);
    oracle_dgrad<T, GradT>(c.problem, dgrad_arguments(c, in, plain));
    if constexpr (kAllPasses) {
      oracle_fprop<T>(c.problem, fprop_arguments(c, in, plain));
      oracle_wgrad<T>(c.problem, wgrad_arguments(c, in, plain));
    }
    Results<T, GradT>::for_each(
        [&](const char*, auto& mine, auto& exact) {
          allowed.push_back(2 * relative_error(mine, exact) + kErrorFloor<T>);
        },
        plain, truth);
  }

  // With `again`, what one schedule said need not be asked once more: `naive` has no order within.
  void check(Results<double, double>& truth, bool again) const {
    for (ConvVariant variant : kVariants) {
      if (!supported(kGpu, variant, test->problem, kDTypeOf<T>) ||
          !is_a_case_of(variant, test->problem) ||
          (variant == ConvVariant::naive && (again || !kAllPasses)))
        continue;
      SCOPED_TRACE(fmt::format("{} {} {}", name_of(variant), name_of(kDTypeOf<T>),
                               test->problem.to_string()));
      Results<T, GradT> result = run_variant<T, GradT>(variant, *test, in);
      // A library's dz and dw are rounded to bf16 in between (conv2d_library.h).
      const bool rounds = variant == ConvVariant::cudnn && kDTypeOf<T> == DType::bf16;
      size_t i = 0;
      Results<T, GradT>::for_each(
          [&](const char* name, auto& mine, auto& exact) {
            const double most = allowed[i++] + (rounds ? 0.1 : 0);
            if (!kAllPasses && !is_of_dgrad(name)) return;
            EXPECT_LE(relative_error(mine, exact), most) << name;
          },
          result, truth);
    }
  }
};

#ifdef MONO_SANITIZED
constexpr bool kSanitized = true;
#else
constexpr bool kSanitized = false;
#endif

// Small cases under every schedule (unless a sanitizer watches, at 20 times the time), the others
// under one each, in turn. The largest are for the CPU: EveryTileShapeOfTheTensorCores has more
// pixels.
TEST(Conv2dGpu, AgreesWithTheOracle) {
  int first = 0;
  for (const Case& test : kCases) {
    if (test.problem.flops() > 1e7) continue;
    Results<double, double> truth = oracle<double, double>(test);
    const Expectation<float, float> f32(test, truth);
    const Expectation<bf16, bf16> bf16s(test, truth);
    const Expectation<bf16, float> mixed(test, truth);
    const bool small = test.problem.flops() < 1e6 && !kSanitized;
    int turn = first++;
    for_each_schedule([&] {
      const bool again = kGpu == Device::emulated && turn++ % 4 != 0;  // a GPU runs once
      if (again && !small) return;
      f32.check(truth, again);
      bf16s.check(truth, again);
      if (!again) mixed.check(truth, again);
    });
  }
}

// A pass with enough pixels for the tiles that fill a GPU, against the CPU's definition: values
// differ by roundings to bf16, sums by less. Under one schedule.
void expect_as_on_the_cpu(ConvVariant variant, ConvPass pass, const ConvProblem& problem) {
  const Case test{problem, {0, 1, problem.N}, true, false};
  SCOPED_TRACE(fmt::format("{} {}", name_of(variant), problem.to_string()));
  const auto run_pass = [&](Stream stream, ConvVariant which, auto& in, auto& out,
                            std::span<std::byte> scratch) {
    if (pass == ConvPass::fprop)
      conv2d_fprop<bf16>(stream, which, problem, fprop_arguments(test, in, out), scratch);
    else
      conv2d_dgrad<bf16, bf16>(stream, which, problem, dgrad_arguments(test, in, out), scratch);
  };
  Operands<bf16, bf16> in(test);
  Results<bf16, bf16> expected(test);
  GuardedArray<std::byte> scratch(
      conv2d_workspace_bytes(ConvVariant::reference, pass, problem, DType::bf16, test.segments()));
  run_pass(Stream{}, ConvVariant::reference, in, expected, scratch.span());
  for_one_schedule([&] {
    Results<bf16, bf16> result = run_on_gpu(test, in, [&](Stream stream, auto& i, auto& o) {
      run_pass(stream, variant, i, o, GpuScratch(stream, variant, pass, test, DType::bf16));
    });
    Results<bf16, bf16>::for_each(
        [&](std::string_view array, auto& mine, auto& other) {
          const bool rounded = array == "y" || array == "dx";
          EXPECT_LE(relative_error(mine, other), rounded ? 0.05 : 1e-3) << array;
        },
        result, expected);
  });
}

TEST(Conv2dGpu, EveryTileShapeOfTheTensorCores) {
  constexpr ConvVariant mma = ConvVariant::implicit_gemm_mma;
  constexpr ConvVariant halo = ConvVariant::implicit_gemm_halo;
  for (int n : {48, 64, 96, 128}) {
    expect_as_on_the_cpu(mma, ConvPass::fprop, {3, 54, 54, 8, n, 1, 1, 1, 0, 8, n});
    expect_as_on_the_cpu(mma, ConvPass::dgrad, {3, 54, 54, n, 8, 1, 1, 1, 0, n, 8});
  }
  expect_as_on_the_cpu(halo, ConvPass::fprop, {2, 66, 66, 40, 48, 3, 3, 1, 1, 40, 48});
  expect_as_on_the_cpu(halo, ConvPass::dgrad, {2, 46, 47, 192, 8, 3, 3, 1, 1, 192, 8});
}

template <class T>
void expect_same_bits_under_every_schedule(const Case& test) {
  for (ConvVariant variant : kVariants) {
    if (!supported(kGpu, variant, test.problem, kDTypeOf<T>)) continue;
    const Operands<T, T> in(test);
    std::vector<Results<T, T>> runs;
    for_each_schedule([&] {
      runs.push_back(run_variant<T, T>(variant, test, in));
      Results<T, T>::for_each(
          [&](const char* name, auto& mine, auto& other) {
            EXPECT_TRUE(mine == other) << name << " of " << name_of(variant);
          },
          runs.back(), runs.front());
    });
  }
}

TEST(Conv2dGpu, SameBitsUnderEverySchedule) {
  const Case test{{3, 9, 7, 24, 40, 3, 3, 2, 1, 24, 48}, {0, 1, 3}, true, true, true};
  expect_same_bits_under_every_schedule<float>(test);
  expect_same_bits_under_every_schedule<bf16>(test);
}

TEST(Conv2dGpu, LongSumsAreBlocked) {
  MONO_NEEDS_GPU();
  for (const Case& test : kLongSums) {
    LongSum sum(test);
    const Operands<float, float> in(test);
    for (ConvVariant variant : {ConvVariant::naive, ConvVariant::smem_tiled})
      EXPECT_LE(sum.error_of(run_variant(variant, test, in)), sum.allowed())
          << name_of(variant) << " " << test.problem.to_string();
  }
}

TEST(Conv2dGpu, NaNIsNotHidden) {
  MONO_NEEDS_GPU();
  const Case test{{1, 4, 4, 16, 16, 3, 3, 1, 1, 16, 16}, {0, 1}};
  Operands<bf16, bf16> in(test);
  in.x[5 * 16 + 3] = bf16(std::numeric_limits<float>::quiet_NaN());
  for (ConvVariant variant : kVariants) {
    if (!supported(kGpu, variant, test.problem, DType::bf16)) continue;
    const Results<bf16, bf16> out = run_variant(variant, test, in);
    EXPECT_TRUE(std::isnan(to_double(out.y[0]))) << name_of(variant);
    EXPECT_FALSE(std::isnan(to_double(out.y[15 * 16]))) << name_of(variant);
    EXPECT_TRUE(std::isnan(out.mean[0]) && std::isnan(out.variance[0])) << name_of(variant);
  }
}

TEST(Conv2dGpu, GradientOfTheOutputMayBeRewrittenInPlace) {
  MONO_NEEDS_GPU();
  const Case test{{3, 6, 6, 24, 32, 3, 3, 1, 1, 24, 32}, {0, 1, 3}};
  const Operands<float, float> operands(test);
  for (ConvVariant variant : kVariants) {
    if (!supported(kGpu, variant, test.problem, DType::f32)) continue;
    const Results<float, float> apart = run_variant(variant, test, operands);
    const GpuStream stream;
    Results<float, float> in_place(test);
    GpuOperands<float, float> in(stream, test, operands);
    GpuResults<float, float> out(stream, in_place);
    ConvDgrad<float, float> args = dgrad_arguments(test, in, out);
    args.g_out = in.dy.data();
    const GpuScratch scratch(stream, variant, ConvPass::dgrad, test, DType::f32);
    conv2d_dgrad<float, float>(stream, variant, test.problem, args, scratch);
    out.copy_to(in_place);
    download(in_place.g_out, in.dy);
    EXPECT_TRUE(in_place.dx == apart.dx) << name_of(variant);
    EXPECT_TRUE(in_place.g_out == apart.g_out) << name_of(variant);
  }
}

TEST(Conv2dGpu, RejectsWhatCannotBe) {
  MONO_NEEDS_GPU();
  const Case test{{1, 4, 4, 16, 16, 3, 3, 1, 1, 16, 16}, {0, 1}};
  const ConvProblem& p = test.problem;
  EXPECT_FALSE(conv2d_supports(kGpu, ConvVariant::reference, ConvPass::fprop, p, DType::f32));
  EXPECT_FALSE(conv2d_supports(Device::cpu, ConvVariant::naive, ConvPass::fprop, p, DType::f32));
  EXPECT_FALSE(
      conv2d_supports(kGpu, ConvVariant::implicit_gemm_mma, ConvPass::fprop, p, DType::f32));
  EXPECT_THROW(conv2d_choose(kGpu, ConvPass::fprop, p, DType::f64), Error);

  const GpuStream stream;
  const Operands<float, float> operands(test);
  GpuOperands<float, float> in(stream, test, operands);
  GpuResults<float, float> out(stream, Results<float, float>(test));
  const GpuScratch scratch(stream, ConvVariant::naive, ConvPass::dgrad, test, DType::f32);
  ConvFprop<float> fprop = fprop_arguments(test, in, out);
  EXPECT_THROW(conv2d_fprop<float>(stream, ConvVariant::reference, p, fprop, scratch), Error);
  fprop.segments.gpu_offsets = nullptr;
  EXPECT_THROW(conv2d_fprop<float>(stream, ConvVariant::naive, p, fprop, scratch), Error);
  ConvDgrad<float, float> dgrad = dgrad_arguments(test, in, out);
  dgrad.g_out = nullptr;
  EXPECT_THROW((conv2d_dgrad<float, float>(stream, ConvVariant::naive, p, dgrad, scratch)), Error);
}

}  // namespace
}  // namespace mono
