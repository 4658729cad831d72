// Pooling on the GPU against the CPU's, whose own test has the definition. Winners must agree
// exactly, ties and NaN included.
#include "kernels/pool/pool.h"

#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

std::vector<PoolProblem> cases() {
  return {
      {.N = 1, .H = 7, .W = 9, .C = 1, .window = 3, .stride = 2, .pad = 1},
      {.N = 2, .H = 5, .W = 7, .C = 7, .window = 2, .stride = 2, .ldx = 10, .ldy = 12},
      {.N = 1, .H = 6, .W = 5, .C = 31, .window = 3, .stride = 1, .pad = 1, .ldx = 32},
      {.N = 1, .H = 7, .W = 7, .C = 33, .window = 2, .stride = 3},
      {.N = 1, .H = 9, .W = 8, .C = 5, .window = 4, .stride = 2, .pad = 2},
      {.N = 2, .H = 8, .W = 9, .C = 48, .window = 3, .stride = 2, .pad = 1, .ldy = 56},  // packs
      {.N = 2, .H = 6, .W = 8, .C = 24, .window = 2, .stride = 2, .ldx = 72},            // packs
      {.N = 1, .H = 9, .W = 9, .C = 8, .window = 5, .stride = 3, .pad = 1},              // packs
  };
}

int64_t x_size(const PoolProblem& p) {
  return int64_t{p.N} * p.H * p.W * (p.ldx ? p.ldx : p.C);
}
int64_t y_size(const PoolProblem& p) {
  return int64_t{p.N} * p.P() * p.Q() * (p.ldy ? p.ldy : p.C);
}

template <class T>
class PoolGpu : public ::testing::Test {};
TYPED_TEST_SUITE(PoolGpu, ActivationTypes);

TYPED_TEST(PoolGpu, MaxMatchesTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    for (const PoolProblem& p : cases()) {
      SCOPED_TRACE(fmt::format("c{} window {}", p.C, p.window));
      const GpuStream stream;
      // Few distinct values, so that ties are common; NaN here and there.
      std::vector<T> x = normal_values<T>(x_size(p), 1);
      for (T& value : x) value = from_double<T>(std::round(2 * to_double(value)));
      for (size_t i = 5; i < x.size(); i += 37) x[i] = from_double<T>(std::nan(""));
      const std::vector<T> dy = normal_values<T>(y_size(p), 2);
      std::vector<T> y(y_size(p), T(M(7))), dx(x.size(), T(M(7))), sum(x.size(), T(M(7)));
      std::vector<uint8_t> argmax(int64_t{p.N} * p.P() * p.Q() * p.C);
      const GpuArray<T> gpu_x(stream, x), gpu_y(stream, y), gpu_dy(stream, dy), gpu_dx(stream, dx),
          gpu_sum(stream, sum);
      const GpuArray<uint8_t> gpu_argmax(stream, static_cast<int64_t>(argmax.size()));
      const auto work = [&p](Stream on, const T* from, T* to, uint8_t* winners, const T* gradient,
                             T* into, T* onto) {
        max_pool_forward<T>(on, p, from, to, winners);
        max_pool_backward<T>(on, p, gradient, winners, into, GradMode::overwrite);
        max_pool_backward<T>(on, p, gradient, winners, onto, GradMode::accumulate);
        max_pool_backward<T>(on, p, gradient, winners, into, GradMode::ignore);
      };
      work(Stream{}, x.data(), y.data(), argmax.data(), dy.data(), dx.data(), sum.data());
      work(stream, gpu_x.data(), gpu_y.data(), gpu_argmax.data(), gpu_dy.data(), gpu_dx.data(),
           gpu_sum.data());
      EXPECT_TRUE(same_bits(gpu_y.host(), y));
      EXPECT_EQ(gpu_argmax.host(), argmax);
      expect_near("dx", gpu_dx.host(), dx, 0x1p-21, 1e-14);
      expect_near("accumulated", gpu_sum.host(), sum, 0x1p-21, 1e-14);
    }
  });
}

TYPED_TEST(PoolGpu, AverageMatchesTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    for (const PoolProblem& p : cases()) {
      SCOPED_TRACE(fmt::format("c{} window {}", p.C, p.window));
      const GpuStream stream;
      const std::vector<T> x = normal_values<T>(x_size(p), 1), dy = normal_values<T>(y_size(p), 2);
      std::vector<T> y(y_size(p), T(M(7))), dx(x.size(), T(M(7))), sum(x.size(), T(M(7)));
      const GpuArray<T> gpu_x(stream, x), gpu_y(stream, y), gpu_dy(stream, dy), gpu_dx(stream, dx),
          gpu_sum(stream, sum);
      const auto work = [&p](Stream on, const T* from, T* to, const T* gradient, T* into, T* onto) {
        average_pool_forward<T>(on, p, from, to);
        average_pool_backward<T>(on, p, gradient, into, GradMode::overwrite);
        average_pool_backward<T>(on, p, gradient, onto, GradMode::accumulate);
      };
      work(Stream{}, x.data(), y.data(), dy.data(), dx.data(), sum.data());
      work(stream, gpu_x.data(), gpu_y.data(), gpu_dy.data(), gpu_dx.data(), gpu_sum.data());
      expect_near("y", gpu_y.host(), y, 0x1p-21, 1e-14);
      expect_near("dx", gpu_dx.host(), dx, 0x1p-21, 1e-14);
      expect_near("accumulated", gpu_sum.host(), sum, 0x1p-21, 1e-14);
    }
  });
}

TYPED_TEST(PoolGpu, GlobalAverageMatchesTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    const struct {
      int N, H, W, C, ldx;
    } problems[] = {{1, 1, 1, 1, 0},   {3, 7, 5, 31, 33}, {2, 3, 3, 33, 0},
                    {2, 5, 7, 24, 32}, {1, 4, 4, 272, 0}, {1, 31, 33, 8, 0}};
    for (const auto& p : problems) {
      SCOPED_TRACE(fmt::format("n{} h{}w{} c{}", p.N, p.H, p.W, p.C));
      const GpuStream stream;
      const int64_t size = int64_t{p.N} * p.H * p.W * (p.ldx ? p.ldx : p.C);
      const std::vector<T> x = normal_values<T>(size, 1, 2.0), dy = normal_values<T>(p.N * p.C, 2);
      std::vector<T> y(dy.size()), dx(size, T(M(7))), sum(size, T(M(7)));
      const GpuArray<T> gpu_x(stream, x), gpu_y(stream, p.N * p.C), gpu_dy(stream, dy),
          gpu_dx(stream, dx), gpu_sum(stream, sum);
      const auto work = [&p](Stream on, const T* from, T* to, const T* gradient, T* into, T* onto) {
        global_average_pool_forward<T>(on, p.N, p.H, p.W, p.C, p.ldx, from, to);
        global_average_pool_backward<T>(on, p.N, p.H, p.W, p.C, p.ldx, gradient, into,
                                        GradMode::overwrite);
        global_average_pool_backward<T>(on, p.N, p.H, p.W, p.C, p.ldx, gradient, onto,
                                        GradMode::accumulate);
      };
      work(Stream{}, x.data(), y.data(), dy.data(), dx.data(), sum.data());
      work(stream, gpu_x.data(), gpu_y.data(), gpu_dy.data(), gpu_dx.data(), gpu_sum.data());
      expect_near("y", gpu_y.host(), y, 0x1p-21, 1e-14);
      expect_near("dx", gpu_dx.host(), dx, 0x1p-21, 1e-14);
      expect_near("accumulated", gpu_sum.host(), sum, 0x1p-21, 1e-14);
    }
  });
}

TEST(PoolGpuErrors, AProblemThatTheCpuRefuses) {
  for_each_schedule([] {
    const GpuStream stream;
    const PoolProblem padding{.N = 1, .H = 4, .W = 4, .C = 1, .window = 3, .stride = 1, .pad = 2};
    EXPECT_THROW(max_pool_forward<float>(stream, padding, nullptr, nullptr, nullptr), Error);
    const PoolProblem none{.N = 1, .H = 2, .W = 2, .C = 1, .window = 3, .stride = 1};
    EXPECT_THROW(average_pool_forward<float>(stream, none, nullptr, nullptr), Error);
  });
}

}  // namespace
}  // namespace mono
