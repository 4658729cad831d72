#include "kernels/pool/pool.h"

#include <algorithm>

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

std::vector<PoolProblem> cases() {
  std::vector<PoolProblem> list;
  for (int C : {1, 7, 31, 33, 300}) {
    list.push_back({.N = 1, .H = 7, .W = 9, .C = C, .window = 3, .stride = 2, .pad = 1});
    list.push_back({.N = 2, .H = 8, .W = 6, .C = C, .window = 2, .stride = 2});
    list.push_back(
        {.N = 2, .H = 5, .W = 7, .C = C, .window = 2, .stride = 2, .ldx = C + 3, .ldy = C + 5});
    list.push_back(
        {.N = 1, .H = 6, .W = 5, .C = C, .window = 3, .stride = 1, .pad = 1, .ldx = C + 1});
    list.push_back({.N = 1, .H = 7, .W = 7, .C = C, .window = 2, .stride = 3});
  }
  return list;
}

int ldx(const PoolProblem& p) {
  return p.ldx ? p.ldx : p.C;
}
int ldy(const PoolProblem& p) {
  return p.ldy ? p.ldy : p.C;
}

// Calls f(output element, input element, tap) for every pair of an output and an input pixel inside
// its window, in row-major order.
template <class F>
void for_taps(const PoolProblem& p, F&& f) {
  for (int n = 0; n < p.N; ++n)
    for (int i = 0; i < p.P(); ++i)
      for (int j = 0; j < p.Q(); ++j)
        for (int r = 0; r < p.window; ++r)
          for (int s = 0; s < p.window; ++s) {
            const int h = i * p.stride - p.pad + r, w = j * p.stride - p.pad + s;
            if (h < 0 || h >= p.H || w < 0 || w >= p.W) continue;
            for (int c = 0; c < p.C; ++c)
              f(int64_t{(n * p.P() + i) * p.Q() + j} * ldy(p) + c,
                int64_t{(n * p.H + h) * p.W + w} * ldx(p) + c, r * p.window + s);
          }
}

template <class T>
class Pool : public ::testing::Test {};
TYPED_TEST_SUITE(Pool, ActivationTypes);

TYPED_TEST(Pool, MaxTakesTheFirstMaximumAndSendsTheGradientThere) {
  using T = TypeParam;
  using M = Master<T>;
  for (const PoolProblem& p : cases()) {
    const int64_t x_size = int64_t{p.N} * p.H * p.W * ldx(p);
    const int64_t y_size = int64_t{p.N} * p.P() * p.Q() * ldy(p);
    std::vector<T> x = normal_values<T>(x_size, 1), dy = normal_values<T>(y_size, 2);
    for (T& v : x) v = T(std::round(static_cast<M>(v) * 2));  // ties on purpose
    std::vector<double> y(y_size, -1e300), dx(x_size, 0);
    std::vector<int64_t> winner(y_size, -1);
    std::vector<int> tap_of(y_size, -1);
    for_taps(p, [&](int64_t o, int64_t i, int tap) {
      if (static_cast<M>(x[i]) > y[o]) {
        y[o] = static_cast<M>(x[i]);
        winner[o] = i;
        tap_of[o] = tap;
      }
    });
    for (int64_t o = 0; o < y_size; ++o)
      if (winner[o] >= 0) dx[winner[o]] += static_cast<double>(static_cast<M>(dy[o]));

    Guarded<T> got_y(y_size), got_dx(x_size);
    Guarded<uint8_t> argmax(int64_t{p.N} * p.P() * p.Q() * p.C, 99);
    max_pool_forward(p, x.data(), got_y.data(), argmax.data());
    max_pool_backward(p, dy.data(), argmax.data(), got_dx.data(), GradMode::overwrite);
    for (int64_t o = 0; o < y_size; ++o) {
      if (winner[o] < 0) continue;
      ASSERT_EQ(static_cast<M>(got_y[o]), y[o]);
      ASSERT_EQ(argmax[o / ldy(p) * p.C + o % ldy(p)], tap_of[o]);
    }
    const double unit = std::is_same_v<T, double> ? 1e-15 : std::is_same_v<T, float> ? 1e-6 : 0.01;
    EXPECT_LE(error_of(got_dx.copy(), dx), unit);

    Guarded<T> twice(x_size);
    for (int64_t i = 0; i < x_size; ++i) twice[i] = got_dx[i];
    max_pool_backward(p, dy.data(), argmax.data(), twice.data(), GradMode::accumulate);
    for (int64_t i = 0; i < x_size; ++i)
      if (i % ldx(p) < p.C) {
        ASSERT_NEAR(static_cast<M>(twice[i]), 2 * static_cast<M>(got_dx[i]), 0.05);
      }
  }
}

TYPED_TEST(Pool, AverageMatchesTheDefinition) {
  using T = TypeParam;
  using M = Master<T>;
  for (const PoolProblem& p : cases()) {
    const int64_t x_size = int64_t{p.N} * p.H * p.W * ldx(p);
    const int64_t y_size = int64_t{p.N} * p.P() * p.Q() * ldy(p);
    const std::vector<T> x = normal_values<T>(x_size, 3), dy = normal_values<T>(y_size, 4);
    const double weight = 1.0 / (p.window * p.window);
    std::vector<double> y(y_size, 0), dx(x_size, 0);
    for_taps(p, [&](int64_t o, int64_t i, int) {
      y[o] += weight * static_cast<M>(x[i]);
      dx[i] += weight * static_cast<M>(dy[o]);
    });
    Guarded<T> got_y(y_size), got_dx(x_size);
    average_pool_forward(p, x.data(), got_y.data());
    average_pool_backward(p, dy.data(), got_dx.data(), GradMode::overwrite);
    const double unit = std::is_same_v<T, double> ? 1e-15 : std::is_same_v<T, float> ? 1e-6 : 0.01;
    EXPECT_LE(error_of(got_y.copy(), y), unit);
    EXPECT_LE(error_of(got_dx.copy(), dx), unit);
  }
}

TYPED_TEST(Pool, GlobalAverage) {
  using T = TypeParam;
  using M = Master<T>;
  for (int C : {1, 31, 257, 520})
    for (int ld : {C, C + 7}) {
      const int N = 3, H = 5, W = 6, pixels = H * W;
      const std::vector<T> x = normal_values<T>(int64_t{N} * pixels * ld, 5);
      const std::vector<T> dy = normal_values<T>(int64_t{N} * C, 6);
      std::vector<double> y(N * C, 0), dx(x.size(), 0);
      for (int n = 0; n < N; ++n)
        for (int i = 0; i < pixels; ++i)
          for (int c = 0; c < C; ++c) {
            y[n * C + c] += static_cast<M>(x[(int64_t{n} * pixels + i) * ld + c]) / double(pixels);
            dx[(int64_t{n} * pixels + i) * ld + c] = static_cast<M>(dy[n * C + c]) / double(pixels);
          }
      Guarded<T> got_y(N * C), got_dx(int64_t{N} * pixels * ld);
      global_average_pool_forward(N, H, W, C, ld, x.data(), got_y.data());
      global_average_pool_backward(N, H, W, C, ld, dy.data(), got_dx.data(), GradMode::overwrite);
      const double unit = std::is_same_v<T, double>  ? 1e-15
                          : std::is_same_v<T, float> ? 1e-6
                                                     : 0.01;
      EXPECT_LE(error_of(got_y.copy(), y), unit);
      EXPECT_LE(error_of(got_dx.copy(), dx), unit);
    }
}

TYPED_TEST(Pool, AnyNumberOfThreadsGivesTheSameBits) {
  using T = TypeParam;
  const PoolProblem p{.N = 3, .H = 19, .W = 17, .C = 65, .window = 3, .stride = 2, .pad = 1};
  const std::vector<T> x = normal_values<T>(int64_t{3} * 19 * 17 * 65, 7);
  same_for_any_threads([&] {
    std::vector<T> y(int64_t{3} * p.P() * p.Q() * 65), dx(x.size());
    std::vector<uint8_t> argmax(y.size());
    max_pool_forward(p, x.data(), y.data(), argmax.data());
    max_pool_backward(p, y.data(), argmax.data(), dx.data(), GradMode::overwrite);
    average_pool_backward(p, y.data(), dx.data(), GradMode::accumulate);
    return dx;
  });
}

TEST(PoolErrors, NanWinsAndImpossibleWindowsAreRefused) {
  const PoolProblem p{.N = 1, .H = 2, .W = 2, .C = 1, .window = 2, .stride = 2};
  for (int at = 0; at < 4; ++at) {
    float x[4] = {1, 2, 3, 4}, y = 0;
    uint8_t argmax = 0;
    x[at] = std::nanf("");
    max_pool_forward(p, x, &y, &argmax);
    EXPECT_TRUE(std::isnan(y));
    EXPECT_EQ(argmax, at);
  }
  const PoolProblem wide{.N = 1, .H = 2, .W = 2, .C = 1, .window = 3, .stride = 1, .pad = 2};
  float x[4] = {}, y[16];
  uint8_t argmax[16];
  EXPECT_THROW(max_pool_forward(wide, x, y, argmax), Error);
}

}  // namespace
}  // namespace mono
