// The GPU kernels of elementwise against the CPU's: at most one rounding apart (a CPU without FMA
// rounds twice).
#include "kernels/elementwise/elementwise.h"

#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class ElementwiseGpu : public ::testing::Test {};
TYPED_TEST_SUITE(ElementwiseGpu, ActivationTypes);

template <class T>
void expect_same(const std::vector<T>& expected, const std::vector<T>& actual) {
  ASSERT_EQ(expected.size(), actual.size());
  const double unit = kDTypeOf<T> == DType::bf16 ? 0x1p-7 : 0x1p-22;
  for (size_t i = 0; i < expected.size(); ++i) {
    const double e = to_double(expected[i]), a = to_double(actual[i]);
    ASSERT_LE(std::abs(a - e), unit * (std::abs(e) + 1)) << "at " << i;
  }
}

TYPED_TEST(ElementwiseGpu, MatchesTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    for (int64_t n : {1, 7, 33, 1000, 3001}) {
      const GpuStream stream;
      const std::vector<T> a = normal_values<T>(n, 1), b = normal_values<T>(n, 2);
      std::vector<T> y(a.size()), z(b);
      const GpuArray<T> da(stream, a), db(stream, b), dy(stream, n), dz(stream, b);
      const auto work = [n](Stream on, T* sum, T* into, const T* x, const T* w) {
        add(on, n, x, w, sum);
        relu_forward(on, n, sum, sum);
        relu_backward(on, n, w, sum, into, GradMode::accumulate);
        scale_into(on, n, M(-0.75), sum, into, GradMode::accumulate);
      };
      work(Stream{}, y.data(), z.data(), a.data(), b.data());
      work(stream, dy.data(), dz.data(), da.data(), db.data());
      expect_same(y, dy.host());
      expect_same(z, dz.host());
    }
  });
}

template <class To, class From>
void converts_and_copies() {
  const GpuStream stream;
  const struct {
    int pixels, C, ldx, ldy;
  } problems[] = {{37, 5, 7, 9}, {1, 1, 1, 1}, {41, 16, 24, 32}, {9, 280, 288, 280}, {6, 8, 8, 12}};
  for (const auto& p : problems)
    for (GradMode mode : {GradMode::overwrite, GradMode::accumulate, GradMode::ignore}) {
      const std::vector<From> x = normal_values<From>(p.pixels * p.ldx, 3);
      std::vector<To> y = normal_values<To>(p.pixels * p.ldy, 4);
      const GpuArray<From> gpu_x(stream, x);
      const GpuArray<To> gpu_y(stream, y), converted(stream, p.pixels * p.ldx);
      copy_channels<To, From>(Stream{}, p.pixels, p.C, x.data(), p.ldx, y.data(), p.ldy, mode);
      copy_channels<To, From>(stream, p.pixels, p.C, gpu_x.data(), p.ldx, gpu_y.data(), p.ldy,
                              mode);
      expect_same(y, gpu_y.host());
      convert<To, From>(stream, p.pixels * p.ldx, gpu_x.data(), converted.data());
      std::vector<To> expected(x.size());
      convert<To, From>(p.pixels * p.ldx, x.data(), expected.data());
      EXPECT_TRUE(same_bits(converted.host(), expected));
    }
}

TYPED_TEST(ElementwiseGpu, ConvertsAndCopiesChannels) {
  using T = TypeParam;
  for_each_schedule([] {
    converts_and_copies<T, float>();
    converts_and_copies<float, T>();
    converts_and_copies<T, T>();
  });
}

// Pointers between two packs take the path of single elements.
TEST(ElementwiseGpuAlignment, AnOffsetOfOneElement) {
  for_each_schedule([] {
    const GpuStream stream;
    const std::vector<bf16> a = normal_values<bf16>(65, 1), b = normal_values<bf16>(65, 2);
    std::vector<bf16> y = a;
    const GpuArray<bf16> gpu_a(stream, a), gpu_b(stream, b), gpu_y(stream, a);
    add<bf16>(Stream{}, 64, a.data() + 1, b.data() + 1, y.data() + 1);
    add<bf16>(stream, 64, gpu_a.data() + 1, gpu_b.data() + 1, gpu_y.data() + 1);
    expect_same(y, gpu_y.host());
  });
}

TEST(ElementwiseGpuNan, ReluLetsNanThrough) {
  for_each_schedule([] {
    const GpuStream stream;
    const std::vector<float> x{-1, std::nanf(""), 2, 0};
    const GpuArray<float> gpu_x(stream, x);
    relu_forward<float>(stream, 4, gpu_x.data(), gpu_x.data());
    const std::vector<float> y = gpu_x.host();
    EXPECT_EQ(y[0], 0);
    EXPECT_TRUE(std::isnan(y[1]));
    EXPECT_EQ(y[2], 2);
  });
}

TYPED_TEST(ElementwiseGpu, ScalesByAFactorInMemory) {
  using T = TypeParam;
  for_each_schedule([] {
    const GpuStream stream;
    const std::vector<T> x = normal_values<T>(77, 5);
    std::vector<T> y = normal_values<T>(77, 6);
    const double alpha = -0.375;
    const GpuArray<T> dx(stream, x), dy(stream, y);
    const GpuArray<double> dalpha(stream, std::vector<double>{alpha});
    scale_by<T>(Stream{}, 77, &alpha, x.data(), y.data(), GradMode::accumulate);
    scale_by<T>(stream, 77, dalpha.data(), dx.data(), dy.data(), GradMode::accumulate);
    expect_same(y, dy.host());
    scale_by<T>(stream, 77, dalpha.data(), dx.data(), dy.data(), GradMode::ignore);
    expect_same(y, dy.host());
    scale_by<T>(Stream{}, 77, &alpha, x.data(), y.data(), GradMode::overwrite);
    scale_by<T>(stream, 77, dalpha.data(), dx.data(), dy.data(), GradMode::overwrite);
    expect_same(y, dy.host());
  });
}

TEST(RowsGpu, GatherAndPitchedCopy) {
  for_each_schedule([] {
    const GpuStream stream;
    constexpr int kRows = 5, kColumns = 23, C = 7, kLd = 9;
    const std::vector<float> table = normal_values<float>(kRows * kColumns, 7);
    const std::vector<int> index{4, 0, 0, 3};
    const GpuArray<float> gpu_table(stream, table);
    const GpuArray<int> gpu_index(stream, index);
    for (bool gather : {true, false}) {
      std::vector<float> y(4 * kLd, 7.0f);
      const GpuArray<float> gpu_y(stream, y);
      copy_rows<float>(Stream{}, 4, C, table.data() + 11, kColumns, gather ? index.data() : nullptr,
                       y.data(), kLd);
      copy_rows<float>(stream, 4, C, gpu_table.data() + 11, kColumns,
                       gather ? gpu_index.data() : nullptr, gpu_y.data(), kLd);
      for (int row = 0; row < 4; ++row)
        for (int c = 0; c < kLd; ++c)
          EXPECT_EQ(y[row * kLd + c],
                    c < C ? table[(gather ? index[row] : row) * kColumns + 11 + c] : 7.0f);
      EXPECT_TRUE(same_bits(gpu_y.host(), y));
    }
  });
}

TEST(SumOfSquaresGpu, MatchesTheCpuAndKeepsNan) {
  for_each_schedule([] {
    const GpuStream stream;
    for (int64_t n : {0, 1, 17, 20003}) {
      std::vector<float> x = normal_values<float>(n, 8);
      const GpuArray<float> gpu_x(stream, x);
      const GpuArray<double> result(stream, 1);
      const size_t bytes = sum_of_squares_workspace_bytes(kGpu, n);
      const GpuArray<std::byte> scratch(stream, static_cast<int64_t>(bytes));
      const auto on_gpu = [&] {
        sum_of_squares<float>(stream, n, gpu_x.data(), result.data(), {scratch.data(), bytes});
        return result.host()[0];
      };
      const double want = sum_of_squares(n, x.data());
      EXPECT_NEAR(on_gpu(), want, 1e-13 * want) << n;
      double on_cpu = -1;
      sum_of_squares<float>(Stream{}, n, x.data(), &on_cpu, {});
      EXPECT_EQ(on_cpu, want);
      if (n < 17) continue;
      const float nan = std::nanf("");
      gpu::copy(gpu_x.data() + n - 1, &nan, sizeof nan, stream);
      EXPECT_TRUE(std::isnan(on_gpu()));
    }
  });
}

}  // namespace
}  // namespace mono
