// AdamW, Adam and clipping against their formulas as torch.optim writes them.
#include "kernels/adamw/adamw.h"

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

// Of one parameter in type M, as torch's single-tensor functions.
template <class M>
struct Plain {
  std::vector<M> w, m, v;

  void step(const AdamWProblem& p, int64_t i, double lr, double decay, bool decoupled, int64_t t,
            double factor, M g) {
    g = g * static_cast<M>(factor);
    if (decoupled)
      w[i] = w[i] * static_cast<M>(1 - lr * decay);
    else
      g = g + static_cast<M>(decay) * w[i];
    m[i] = m[i] + static_cast<M>(1 - p.beta1) * (g - m[i]);
    v[i] = v[i] * static_cast<M>(p.beta2) + static_cast<M>(1 - p.beta2) * g * g;
    const double c1 = 1 - std::pow(p.beta1, t), c2 = 1 - std::pow(p.beta2, t);
    const M size = std::sqrt(v[i]) / static_cast<M>(std::sqrt(c2)) + static_cast<M>(p.eps);
    w[i] = w[i] - static_cast<M>(lr / c1) * m[i] / size;
  }
};

template <class M>
class AdamWKernel : public ::testing::Test {};
using MasterTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AdamWKernel, MasterTypes);

// Three groups with rates of their own, one of them frozen in the first two steps.
TYPED_TEST(AdamWKernel, FiveStepsOfThreeGroupsMatchTheFormula) {
  using M = TypeParam;
  for (bool decoupled : {true, false})
    for (const std::vector<int64_t>& ends :
         {std::vector<int64_t>{1, 3, 4}, {31, 64, 95}, {16383, 16385, 40000}}) {
      const int64_t n = ends.back();
      const AdamWProblem problem{.n = n, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3};
      const AdamWRun runs[] = {{0, ends[0], 1}, {ends[0], ends[1], 0}, {ends[1], n, 2}};
      const double decay[] = {0.0, 0.3, 0.1};
      const std::vector<M> start = normal_values<M>(n, 1), zeros(n);
      Guarded<M> w(n), m(n), v(n);
      std::copy(start.begin(), start.end(), w.data());
      Plain<M> rounded{start, zeros, zeros};
      Plain<double> want{convert_to<double>(start), convert_to<double>(zeros),
                         convert_to<double>(zeros)};
      for (int step = 0; step < 5; ++step) {
        const double lr = 0.1 / (1 + step), factor = 0.25;
        const std::vector<M> g = normal_values<M>(n, 10 + step);
        AdamWRates rates[3] = {};
        for (int group = 0; group < 3; ++group) {
          const int64_t t = group == 2 ? step - 1 : step + 1;
          if (t > 0) rates[group] = adamw_rates(problem, lr, decay[group], decoupled, t);
          for (int64_t i = runs[0].begin; i < n && t > 0; ++i) {
            const int of = i < ends[0] ? 1 : i < ends[1] ? 0 : 2;
            if (of != group) continue;
            rounded.step(problem, i, lr, decay[group], decoupled, t, factor, g[i]);
            want.step(problem, i, lr, decay[group], decoupled, t, factor, to_double(g[i]));
          }
        }
        adamw_step<M>(Stream{}, problem, {3, runs}, rates, &factor, w.data(), m.data(), v.data(),
                      g.data());
      }
      expect_close("w", w.copy(), rounded.w, want.w);
      expect_close("m", m.copy(), rounded.m, want.m);
      expect_close("v", v.copy(), rounded.v, want.v);
    }
}

TYPED_TEST(AdamWKernel, AnyNumberOfThreadsGivesTheSameBits) {
  using M = TypeParam;
  const AdamWProblem problem{.n = 100001};
  const AdamWRun runs[] = {{0, 40000, 0}, {40000, 40001, 1}, {40001, problem.n, 0}};
  const AdamWRates rates[] = {adamw_rates(problem, 0.1, 0.1, true, 3),
                              adamw_rates(problem, 0.1, 0, true, 3)};
  const std::vector<M> g = normal_values<M>(problem.n, 2);
  same_for_any_threads([&] {
    std::vector<M> w = normal_values<M>(problem.n, 1), m(problem.n, M(0.5)), v(problem.n, M(0.25));
    const double factor = 1;
    adamw_step<M>(Stream{}, problem, {3, runs}, rates, &factor, w.data(), m.data(), v.data(),
                  g.data());
    return w;
  });
}

TEST(AdamWRunsErrors, AGapIsRefused) {
  const AdamWRun gap[] = {{0, 3, 0}, {4, 8, 0}}, shortened[] = {{0, 7, 0}};
  const AdamWRates rates{};
  const double factor = 1;
  std::vector<float> w(8), m(8), v(8), g(8);
  const auto step = [&](AdamWRuns runs) {
    adamw_step<float>(Stream{}, {.n = 8}, runs, &rates, &factor, w.data(), m.data(), v.data(),
                      g.data());
  };
  EXPECT_THROW(step({2, gap}), Error);
  EXPECT_THROW(step({1, shortened}), Error);
}

TEST(ClipFactor, IsTorchs) {
  const auto clipped = [](double max_norm, double scale, double squares) {
    ClippedNorm result{};
    clip_factor(Stream{}, max_norm, &scale, &squares, &result);
    return result;
  };
  EXPECT_DOUBLE_EQ(clipped(3, 1, 100).norm, 10);
  EXPECT_DOUBLE_EQ(clipped(3, 1, 100).factor, 3 / (10 + 1e-6));
  EXPECT_DOUBLE_EQ(clipped(3, 1, 4).factor, 1);
  EXPECT_DOUBLE_EQ(clipped(3, 0.25, 1600).factor, 0.25 * 3 / (10 + 1e-6)) << "norm of the mean";
  EXPECT_DOUBLE_EQ(clipped(3, 0.25, 0).factor, 0.25);
  EXPECT_TRUE(std::isnan(clipped(3, 1, std::nan("")).factor));
}

}  // namespace
}  // namespace mono
