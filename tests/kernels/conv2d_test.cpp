// Every variant of the three convolution passes against a naive oracle, over one list of cases.
//
// The oracle in double is the truth; the oracle in T, with T's roundings and sequential sums, is
// "the plain computation in the same type": a variant's error may be at most twice that.
#include "kernels/conv2d/conv2d.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernels/conv2d_cases.h"

namespace mono {
namespace {

using namespace conv2d_test;

constexpr ConvVariant kVariants[] = {ConvVariant::reference, ConvVariant::onednn,
                                     ConvVariant::implicit_gemm};

template <class T, class GradT>
void expect_as_good_as_plain(Results<double, double>& truth, const Case& test) {
  Results<T, GradT> plain = oracle<T, GradT>(test);
  std::vector<double> allowed;
  Results<T, GradT>::for_each(
      [&](const char*, auto& mine, auto& exact) {
        allowed.push_back(2 * relative_error(mine, exact) + kErrorFloor<T>);
      },
      plain, truth);
  for (ConvVariant variant : kVariants) {
    if (!supported(Device::cpu, variant, test.problem, kDTypeOf<T>)) continue;
    SCOPED_TRACE(
        fmt::format("{} {} {}", name_of(variant), name_of(kDTypeOf<T>), test.problem.to_string()));
    Results<T, GradT> result = run<T, GradT>(variant, test);
    size_t i = 0;
    Results<T, GradT>::for_each(
        [&](const char* name, auto& mine, auto& exact) {
          EXPECT_TRUE(mine.intact()) << name << " was written outside";
          EXPECT_LE(relative_error(mine, exact), allowed[i++]) << name;
        },
        result, truth);
  }
}

TEST(Conv2d, AgreesWithTheOracle) {
  for (const Case& test : kCases) {
    Results<double, double> truth = oracle<double, double>(test);
    expect_as_good_as_plain<double, double>(truth, test);
    expect_as_good_as_plain<float, float>(truth, test);
    expect_as_good_as_plain<bf16, bf16>(truth, test);
    expect_as_good_as_plain<bf16, float>(truth, test);
  }
}

template <class T, class GradT>
void expect_same_bits_for_any_threads(const Case& test) {
  for (ConvVariant variant : kVariants) {
    if (!supported(Device::cpu, variant, test.problem, kDTypeOf<T>)) continue;
    SCOPED_TRACE(
        fmt::format("{} {} {}", name_of(variant), name_of(kDTypeOf<T>), test.problem.to_string()));
    const Threads one(1);
    Results<T, GradT> serial = run<T, GradT>(variant, test);
    for (int threads : {2, 3}) {
      const Threads several(threads);
      Results<T, GradT> parallel = run<T, GradT>(variant, test);
      Results<T, GradT>::for_each(
          [&](const char* name, auto& mine, auto& other) {
            EXPECT_TRUE(mine == other) << name << " differs with " << threads << " threads";
          },
          parallel, serial);
    }
  }
}

TEST(Conv2d, SameBitsForAnyNumberOfThreads) {
  for (const Case& test : kCases) {
    expect_same_bits_for_any_threads<double, double>(test);
    expect_same_bits_for_any_threads<float, float>(test);
    expect_same_bits_for_any_threads<bf16, float>(test);
  }
}

// L = sum u*y + sum alpha*mean + sum beta*variance, with y and its moments from fprop. Then
// dL/dy = u + (2 beta/m) y + (alpha - 2 beta mean)/m per segment and channel, which is the affine
// gradient prologue; and mask, sums and multiply give dL/dx, dL/dshift and dL/dscale.
class FiniteDifferences {
 public:
  explicit FiniteDifferences(const Case& test)
      : test_(test),
        in_(test),
        out_(test),
        alpha_(normal<double>(out_.mean.size(), 30)),
        beta_(normal<double>(out_.mean.size(), 31)) {
    test_.prologue = true;
    test_.accumulate = false;
    // Off the bf16 grid, where scale*x + shift is exactly zero, the kink of ReLU, too often.
    const GuardedArray<double> noise = normal<double>(in_.x.size(), 32);
    for (int64_t i = 0; i < in_.x.size(); ++i)
      in_.x[i] += 1e-3 * std::sin(1 + 7 * noise[i] + double(i));
  }

  double loss() {
    const ConvProblem& p = test_.problem;
    workspace_ = GuardedArray<std::byte>(bytes(ConvPass::fprop));
    conv2d_fprop<double>(ConvVariant::reference, p, fprop_arguments(test_, in_, out_),
                         workspace_.span());
    double sum = 0;
    for (int64_t pixel = 0; pixel < int64_t{p.N} * p.P() * p.Q(); ++pixel)
      for (int k = 0; k < p.K; ++k) sum += in_.dy[pixel * p.ldy + k] * out_.y[pixel * p.ldy + k];
    for (int s = 0; s < segments(); ++s)
      for (int k = 0; k < p.K; ++k) {
        const int64_t i = int64_t{s} * (p.K + 5) + k;
        sum += alpha_[i] * out_.mean[i] + beta_[i] * out_.variance[i];
      }
    return sum;
  }

  void check() {
    const ConvProblem& p = test_.problem;
    loss();
    std::fill_n(in_.a.data(), in_.a.size(), 1.0);
    for (int s = 0; s < segments(); ++s)
      for (int k = 0; k < p.K; ++k) {
        const double m = double(test_.offsets[s + 1] - test_.offsets[s]) * p.P() * p.Q();
        const int64_t i = int64_t{s} * (p.K + 5) + k, table = int64_t{s} * p.K + k;
        in_.b[table] = 2 * beta_[i] / m;
        in_.c[table] = (alpha_[i] - 2 * beta_[i] * out_.mean[i]) / m;
      }
    in_.y_saved = out_.y;
    in_.multiply = in_.scale;
    std::fill_n(in_.mean.data(), in_.mean.size(), 0.0);
    test_.deferred = true;
    workspace_ = GuardedArray<std::byte>(bytes(ConvPass::dgrad));
    conv2d_dgrad<double, double>(ConvVariant::reference, p, dgrad_arguments(test_, in_, out_),
                                 workspace_.span());
    ConvWgrad<double> wgrad = wgrad_arguments(test_, in_, out_);
    wgrad.g = out_.g_out.data();
    wgrad.ldg = p.K;
    workspace_ = GuardedArray<std::byte>(bytes(ConvPass::wgrad));
    conv2d_wgrad<double>(ConvVariant::reference, p, wgrad, workspace_.span());

    // Between the channels of a pitched x nothing has a gradient.
    GuardedArray<double> dx(out_.dx.size());
    for (int64_t i = 0; i < dx.size(); ++i) dx[i] = i % p.ldx < p.C ? out_.dx[i] : 0;
    check_direction("x", in_.x, dx);
    check_direction("w", in_.w, GuardedArray<double>(out_.dw));
    check_direction("scale", in_.scale, GuardedArray<double>(out_.sum_dzx));
    check_direction("shift", in_.shift, GuardedArray<double>(out_.sum_dz));
  }

 private:
  int segments() const { return static_cast<int>(test_.offsets.size()) - 1; }
  size_t bytes(ConvPass pass) const {
    return conv2d_workspace_bytes(ConvVariant::reference, pass, test_.problem, DType::f64,
                                  segments());
  }

  void check_direction(const char* name, GuardedArray<double>& parameter,
                       const GuardedArray<double>& gradient) {
    constexpr double kStep = 1e-6;
    const GuardedArray<double> direction = normal<double>(parameter.size(), 40);
    const GuardedArray<double> before = parameter;
    double loss_at[2];
    for (int side : {0, 1}) {
      for (int64_t i = 0; i < parameter.size(); ++i)
        parameter[i] = before[i] + (side ? kStep : -kStep) * direction[i];
      loss_at[side] = loss();
    }
    parameter = before;
    double expected = 0, scale = 0;
    for (int64_t i = 0; i < parameter.size(); ++i) {
      expected += gradient[i] * direction[i];
      scale += gradient[i] * gradient[i];
    }
    const double measured = (loss_at[1] - loss_at[0]) / (2 * kStep);
    EXPECT_NEAR(measured, expected, 1e-6 * std::sqrt(scale) + 1e-8 * std::abs(loss_at[0]))
        << "d loss / d " << name << " of " << test_.problem.to_string();
  }

  Case test_;
  Operands<double, double> in_;
  Results<double, double> out_;
  GuardedArray<double> alpha_, beta_;
  GuardedArray<std::byte> workspace_;
};

TEST(Conv2d, GradientsMatchFiniteDifferences) {
  for (const Case& test : kCases) FiniteDifferences(test).check();
}

TEST(Conv2d, NaNIsNotHidden) {
  const Case test{{1, 4, 4, 16, 16, 3, 3, 1, 1, 16, 16}, {0, 1}};
  for (ConvVariant variant : kVariants) {
    if (!supported(Device::cpu, variant, test.problem, DType::f32)) continue;
    Operands<float, float> in(test);
    Results<float, float> out(test);
    in.x[5 * 16 + 3] = std::numeric_limits<float>::quiet_NaN();
    GuardedArray<std::byte> workspace(
        conv2d_workspace_bytes(variant, ConvPass::fprop, test.problem, DType::f32, 1));
    conv2d_fprop<float>(variant, test.problem, fprop_arguments(test, in, out), workspace.span());
    EXPECT_TRUE(std::isnan(out.y[0])) << name_of(variant);
    EXPECT_FALSE(std::isnan(out.y[15 * 16])) << name_of(variant);
    EXPECT_TRUE(std::isnan(out.mean[0]) && std::isnan(out.variance[0])) << name_of(variant);
  }
}

TEST(Conv2d, GradientOfTheOutputMayBeRewrittenInPlace) {
  const Case test{{3, 6, 6, 24, 32, 3, 3, 1, 1, 24, 32}, {0, 1, 3}};
  for (ConvVariant variant : kVariants) {
    if (!supported(Device::cpu, variant, test.problem, DType::f32)) continue;
    Operands<float, float> in(test);
    Results<float, float> apart(test), in_place(test);
    GuardedArray<std::byte> workspace(
        conv2d_workspace_bytes(variant, ConvPass::dgrad, test.problem, DType::f32, 2));
    conv2d_dgrad<float, float>(variant, test.problem, dgrad_arguments(test, in, apart),
                               workspace.span());
    ConvDgrad<float, float> args = dgrad_arguments(test, in, in_place);
    args.g_out = in.dy.data();
    conv2d_dgrad<float, float>(variant, test.problem, args, workspace.span());
    EXPECT_TRUE(in_place.dx == apart.dx) << name_of(variant);
    EXPECT_TRUE(in.dy == apart.g_out) << name_of(variant);
  }
}

TEST(Conv2d, LongSumsAreBlocked) {
  for (const Case& test : kLongSums) {
    LongSum sum(test);
    std::vector<ConvVariant> blocked = {ConvVariant::reference};
    if (supported(Device::cpu, ConvVariant::implicit_gemm, test.problem, DType::f32)) {
      blocked.push_back(ConvVariant::implicit_gemm);
      blocked.push_back(conv2d_choose(Device::cpu, sum.pass(), test.problem, DType::f32));
    }
    for (ConvVariant variant : blocked)
      EXPECT_LE(sum.error_of(run<float, float>(variant, test)), sum.allowed())
          << name_of(variant) << " " << test.problem.to_string();
  }
}

TEST(Conv2d, RejectsWhatCannotBe) {
  const Case test{{1, 4, 4, 16, 16, 3, 3, 1, 1, 16, 16}, {0, 1}};
  Operands<float, float> in(test);
  Results<float, float> out(test);
  ConvFprop<float> args = fprop_arguments(test, in, out);
  std::vector<std::byte> workspace(16);
  EXPECT_THROW(conv2d_fprop<float>(ConvVariant::reference, test.problem, args, workspace), Error);
  workspace.resize(1 << 20);
  ConvProblem bad = test.problem;
  bad.ldx = 8;
  EXPECT_THROW(conv2d_fprop<float>(ConvVariant::reference, bad, args, workspace), Error);
  args.segments.count = 0;
  EXPECT_THROW(conv2d_fprop<float>(ConvVariant::reference, test.problem, args, workspace), Error);
}

}  // namespace
}  // namespace mono
