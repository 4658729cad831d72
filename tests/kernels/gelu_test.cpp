// GELU on the CPU against the definition in long double.
#include "kernels/gelu/gelu.h"

#include "kernels/base/cpu_features.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

long double below(long double x) {
  return 0.5L * std::erfc(-x / std::sqrt(2.0L));
}
long double slope(long double x) {
  return below(x) + x * std::exp(-0.5L * x * x) * 0.398942280401432677939946L;
}

TEST(Gelu, IsExactToARoundingOrTwoTailsIncluded) {
  std::vector<float> x;
  for (float v = -12; v <= 12; v += 0.00137f) x.push_back(v);
  x.insert(x.end(), {0.0f, -0.0f, 1e-30f, -1e-30f, 30.0f, 1000.0f});
  const int64_t n = static_cast<int64_t>(x.size());
  std::vector<float> y(x.size()), dx(x.size()), ones(x.size(), 1.0f);
  gelu_forward<float>(n, x.data(), y.data());
  gelu_backward<float>(n, ones.data(), x.data(), dx.data(), GradMode::overwrite);
  double worst = 0, worst_slope = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double want = static_cast<double>(x[i] * below(x[i]));
    worst = std::max(worst, std::abs(y[i] - want) / (std::abs(want) + 1e-35));
    worst_slope = std::max(worst_slope, std::abs(dx[i] - static_cast<double>(slope(x[i]))));
  }
  // Of itself; more where the level has no fused multiply-add, which the square's rounding needs.
  EXPECT_LE(worst, (cpu_isa() >= CpuIsa::avx2 ? 40 : 100) * 0x1p-24);
  EXPECT_LE(worst_slope, 4 * 0x1p-24);
}

template <class T>
class GeluTyped : public ::testing::Test {};
TYPED_TEST_SUITE(GeluTyped, ActivationTypes);

TYPED_TEST(GeluTyped, IsItsDefinition) {
  using T = TypeParam;
  for (const int64_t n : {1, 7, 33, 1000, 40001}) {
    const std::vector<T> x = normal_values<T>(n, 1, 0, 2), dy = normal_values<T>(n, 2);
    std::vector<double> y, dx, sum;
    std::vector<T> before = normal_values<T>(n, 3);
    for (int64_t i = 0; i < n; ++i) {
      const long double v = to_double(x[i]);
      y.push_back(static_cast<double>(v * below(v)));
      dx.push_back(static_cast<double>(to_double(dy[i]) * slope(v)));
      sum.push_back(dx.back() + to_double(before[i]));
    }
    const auto close = [](const char* what, const std::vector<T>& got,
                          const std::vector<double>& want) {
      expect_close<T>(what, got, convert_to<T>(want), want);
    };
    std::vector<T> in_place = x, out(x.size());
    gelu_forward<T>(n, in_place.data(), in_place.data());
    close("y", in_place, y);
    gelu_backward<T>(n, dy.data(), x.data(), out.data(), GradMode::overwrite);
    close("dx", out, dx);
    gelu_backward<T>(n, dy.data(), x.data(), before.data(), GradMode::accumulate);
    close("accumulated", before, sum);
    const std::vector<T> same = before;
    gelu_backward<T>(n, dy.data(), x.data(), before.data(), GradMode::ignore);
    EXPECT_TRUE(same_bits(before, same));
  }
}

TEST(Gelu, EndsInZero) {
  const float x[] = {-13.5f, -30, -1e10f};
  float y[3];
  gelu_forward<float>(3, x, y);
  for (const float v : {y[0], y[1]}) EXPECT_NEAR(v, 0, 1e-36);
  EXPECT_NEAR(y[2], 0, 1e-27);
}

TEST(GeluNan, StaysOne) {
  const std::vector<float> x(20, std::nanf(""));
  std::vector<float> y(20);
  gelu_forward<float>(20, x.data(), y.data());
  for (const float v : y) EXPECT_TRUE(std::isnan(v));
}

}  // namespace
}  // namespace mono
