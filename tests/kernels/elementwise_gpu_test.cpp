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
    for (int64_t n : {1, 7, 33, 1000}) {
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

TYPED_TEST(ElementwiseGpu, ConvertsAndCopiesChannels) {
  using T = TypeParam;
  for_each_schedule([] {
    const GpuStream stream;
    const int pixels = 37, C = 5, ldx = 7, ldy = 9;
    const std::vector<float> x = normal_values<float>(pixels * ldx, 3);
    std::vector<T> y = normal_values<T>(pixels * ldy, 4);
    const GpuArray<float> dx(stream, x);
    const GpuArray<T> dy(stream, y), converted(stream, pixels * ldx);
    copy_channels<T, float>(Stream{}, pixels, C, x.data(), ldx, y.data(), ldy,
                            GradMode::accumulate);
    copy_channels<T, float>(stream, pixels, C, dx.data(), ldx, dy.data(), ldy,
                            GradMode::accumulate);
    expect_same(y, dy.host());
    convert<T, float>(stream, pixels * ldx, dx.data(), converted.data());
    std::vector<T> expected(x.size());
    convert<T, float>(pixels * ldx, x.data(), expected.data());
    expect_same(expected, converted.host());
  });
}

}  // namespace
}  // namespace mono
