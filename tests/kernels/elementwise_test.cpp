#include "kernels/elementwise/elementwise.h"

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class Elementwise : public ::testing::Test {};
TYPED_TEST_SUITE(Elementwise, ActivationTypes);

template <class T>
double f64(T v) {
  return static_cast<double>(static_cast<Master<T>>(v));
}
// v rounded to T by way of its master type.
template <class T>
double rounded(double v) {
  return f64(T(static_cast<Master<T>>(v)));
}

TYPED_TEST(Elementwise, MatchesTheDefinition) {
  using T = TypeParam;
  using M = Master<T>;
  const double tolerance = kDTypeOf<T> == DType::bf16 ? 0.05 : 1e-6;
  for (int64_t n : {1, 7, 31, 33, 70001}) {
    const std::vector<T> a = normal_values<T>(n, 1), b = normal_values<T>(n, 2);
    Guarded<T> sum(n), relu(n), drelu(n), scaled(n), both(n, 1.0);
    add(n, a.data(), b.data(), sum.data());
    relu_forward(n, a.data(), relu.data());
    relu_backward(n, b.data(), relu.data(), drelu.data(), GradMode::overwrite);
    scale_into(n, M(-0.75), a.data(), scaled.data(), GradMode::overwrite);
    scale_into(n, M(-0.75), a.data(), both.data(), GradMode::accumulate);
    relu_backward(n, b.data(), relu.data(), both.data(), GradMode::accumulate);
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(f64(sum[i]), rounded<T>(static_cast<M>(a[i]) + static_cast<M>(b[i])));
      ASSERT_EQ(f64(relu[i]), std::max(0.0, f64(a[i])));
      ASSERT_EQ(f64(drelu[i]), f64(a[i]) > 0 ? f64(b[i]) : 0.0);
      ASSERT_EQ(f64(scaled[i]), rounded<T>(M(-0.75) * static_cast<M>(a[i])));
      ASSERT_NEAR(f64(both[i]), 1 + f64(scaled[i]) + f64(drelu[i]), tolerance);
    }
    add(n, sum.data(), b.data(), sum.data());  // in place
    ASSERT_NEAR(f64(sum[n - 1]), f64(a[n - 1]) + 2 * f64(b[n - 1]), 0.05);
  }
}

TYPED_TEST(Elementwise, ConvertsAndCopiesChannels) {
  using T = TypeParam;
  const int64_t n = 1001;
  const std::vector<double> from = normal_values<double>(n, 3);
  Guarded<T> to(n);
  convert(n, from.data(), to.data());
  Guarded<float> back(n);
  convert(n, to.data(), back.data());
  for (int64_t i = 0; i < n; ++i) {
    ASSERT_EQ(f64(to[i]), rounded<T>(from[i]));
    ASSERT_EQ(back[i], static_cast<float>(f64(to[i])));
  }
  for (int C : {1, 7, 33}) {
    const int64_t pixels = 29;
    const int ldx = C + 2, ldy = C + 5;
    const std::vector<T> x = normal_values<T>(pixels * ldx, 4);
    Guarded<float> y(pixels * ldy, 3.0);
    copy_channels(pixels, C, x.data(), ldx, y.data(), ldy, GradMode::overwrite);
    copy_channels(pixels, C, x.data(), ldx, y.data(), ldy, GradMode::accumulate);
    copy_channels(pixels, C, x.data(), ldx, y.data(), ldy, GradMode::ignore);
    for (int64_t i = 0; i < pixels; ++i)
      for (int c = 0; c < ldy; ++c)
        ASSERT_EQ(y[i * ldy + c], c < C ? 2 * static_cast<float>(f64(x[i * ldx + c])) : 3.0f);
  }
}

// Every 16-bit pattern survives float and back; rounding is to nearest even; NaN stays NaN.
TEST(ElementwiseBf16, ConversionIsExact) {
  std::vector<bf16> all(65536);
  for (int i = 0; i < 65536; ++i) all[i].bits = static_cast<uint16_t>(i);
  std::vector<float> wide(65536);
  std::vector<bf16> narrow(65536);
  convert(int64_t{65536}, all.data(), wide.data());
  convert(int64_t{65536}, wide.data(), narrow.data());
  for (int i = 0; i < 65536; ++i) {
    if (std::isnan(wide[i]))
      EXPECT_TRUE(std::isnan(static_cast<float>(narrow[i])));
    else
      EXPECT_EQ(narrow[i].bits, i);
  }
  std::vector<float> values = normal_values<float>(4096, 5);
  values[0] = std::bit_cast<float>(0x7f800001u);  // a NaN whose payload a truncation would lose
  values[1] = std::bit_cast<float>(0x3f808000u);  // a tie: to even, down
  values[2] = std::bit_cast<float>(0x3f818000u);  // a tie: to even, up
  values[3] = 3.4e38f;                            // to infinity
  convert(int64_t{4096}, values.data(), narrow.data());
  for (int i = 0; i < 4096; ++i) EXPECT_EQ(narrow[i].bits, bf16::round_to_nearest_even(values[i]));
  EXPECT_TRUE(std::isnan(static_cast<float>(narrow[0])));
  EXPECT_EQ(narrow[1].bits, 0x3f80);
  EXPECT_EQ(narrow[2].bits, 0x3f82);
}

TEST(ElementwiseSum, SumOfSquares) {
  for (int64_t n : {1, 17, 100003}) {
    const std::vector<float> x = normal_values<float>(n, 6);
    long double want = 0;
    for (float v : x) want += static_cast<long double>(v) * v;
    const std::vector<double> got =
        same_for_any_threads([&] { return std::vector<double>{sum_of_squares(n, x.data())}; });
    EXPECT_NEAR(got[0], static_cast<double>(want), 1e-13 * static_cast<double>(want));
    EXPECT_NEAR(sum_of_squares(n, convert_to<double>(x).data()), got[0], 1e-13 * got[0]);
  }
  std::vector<float> x(100, 1.0f);
  x[57] = std::nanf("");
  EXPECT_TRUE(std::isnan(sum_of_squares(int64_t{100}, x.data())));
  x[57] = std::numeric_limits<float>::infinity();
  EXPECT_TRUE(std::isinf(sum_of_squares(int64_t{100}, x.data())));
  EXPECT_EQ(sum_of_squares<float>(0, nullptr), 0.0);
}

}  // namespace
}  // namespace mono
