// Cross-entropy on the GPU against the CPU's, whose own test has the definition.
#include "kernels/cross_entropy/cross_entropy.h"

#include "tests/kernels/cross_entropy_cases.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
struct Result {
  std::vector<Master<T>> losses, log_sum_exp;
  std::vector<T> dlogits, sum;
};

template <class T>
Result<T> on_cpu(int N, int K, const std::vector<T>& logits, const std::vector<float>& targets) {
  using M = Master<T>;
  Result<T> out{std::vector<M>(N), std::vector<M>(N), std::vector<T>(logits.size()),
                std::vector<T>(logits.size(), T(M(1)))};
  cross_entropy_forward<T>(Stream{}, N, K, logits.data(), targets.data(), out.losses.data(),
                           out.log_sum_exp.data());
  cross_entropy_backward<T>(Stream{}, N, K, logits.data(), targets.data(), out.log_sum_exp.data(),
                            M(0.5), out.dlogits.data(), GradMode::overwrite);
  cross_entropy_backward<T>(Stream{}, N, K, logits.data(), targets.data(), out.log_sum_exp.data(),
                            M(0.5), out.sum.data(), GradMode::accumulate);
  return out;
}

template <class T>
Result<T> on_gpu(int N, int K, const std::vector<T>& logits, const std::vector<float>& targets) {
  using M = Master<T>;
  const GpuStream stream;
  const GpuArray<T> y(stream, logits), dy(stream, static_cast<int64_t>(logits.size())),
      sum(stream, std::vector<T>(logits.size(), T(M(1))));
  const GpuArray<float> t(stream, targets);
  const GpuArray<M> losses(stream, N), log_sum_exp(stream, N);
  cross_entropy_forward<T>(stream, N, K, y.data(), t.data(), losses.data(), log_sum_exp.data());
  for (auto [to, mode] :
       {std::pair(dy.data(), GradMode::overwrite), std::pair(sum.data(), GradMode::accumulate)})
    cross_entropy_backward<T>(stream, N, K, y.data(), t.data(), log_sum_exp.data(), M(0.5), to,
                              mode);
  return {losses.host(), log_sum_exp.host(), dy.host(), sum.host()};
}

template <class T>
class CrossEntropyGpu : public ::testing::Test {};
TYPED_TEST_SUITE(CrossEntropyGpu, ActivationTypes);

TYPED_TEST(CrossEntropyGpu, MatchesTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (auto [N, K] : {std::pair(1, 1), {7, 7}, {1, 31}, {3, 33}, {2, 1139}}) {
      SCOPED_TRACE(std::to_string(K) + " classes");
      const std::vector<T> logits = normal_values<T>(int64_t{N} * K, K, 50.0, 4.0);
      const std::vector<float> targets = soft_targets(N, K);
      const Result<T> got = on_gpu(N, K, logits, targets), want = on_cpu(N, K, logits, targets);
      expect_near("log-sum-exp", got.log_sum_exp, want.log_sum_exp);
      expect_near("accumulated", got.sum, want.sum);
      if (K == 1) continue;  // the loss is 0, and errors have no scale
      expect_near("losses", got.losses, want.losses);
      expect_near("dlogits", got.dlogits, want.dlogits);
    }
  });
}

TEST(CrossEntropyGpuErrors, LogitsThatAreNotFiniteReachTheLoss) {
  for_each_schedule([] {
    const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
    for (float bad : {nan, infinity})
      for (int at = 0; at < 3; ++at) {
        std::vector<float> logits = {1, 2, 3};
        logits[at] = bad;
        EXPECT_FALSE(std::isfinite(on_gpu<float>(1, 3, logits, {0, 1, 0}).losses[0]));
      }
    EXPECT_TRUE(std::isfinite(on_gpu<float>(1, 3, {1e30f, -1e30f, 0}, {1, 0, 0}).losses[0]));
  });
}

// Totals of a step: the sum of losses and the number of right rows, on both devices.
template <class T>
double right_on(bool gpu, int N, int K, const std::vector<T>& logits,
                const std::vector<float>& targets) {
  if (!gpu) {
    double right = 10;
    add_accuracy<T>(Stream{}, N, K, logits.data(), targets.data(), 0.5, &right, nullptr);
    return right;
  }
  const GpuStream stream;
  const GpuArray<T> y(stream, logits);
  const GpuArray<float> t(stream, targets);
  const GpuArray<double> right(stream, std::vector<double>{10});
  const GpuArray<int> correct(stream, N);
  add_accuracy<T>(stream, N, K, y.data(), t.data(), 0.5, right.data(), correct.data());
  return right.host()[0];
}

TYPED_TEST(CrossEntropyGpu, CountsRightRowsByTheFirstOfEquals) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    const M nan = std::numeric_limits<M>::quiet_NaN();
    const struct {
      std::vector<M> logits;
      std::vector<float> targets;
      bool right;
    } rows[] = {
        {{1, 3, 2}, {0, 1, 0}, true},
        {{1, 3, 2}, {0.25f, 0.25f, 0.5f}, false},
        {{3, 3, 2}, {0.5f, 0.5f, 0}, true},  // the first of equals, on both sides
        {{3, 3, 2}, {0.25f, 0.75f, 0}, false},
        {{1, nan, 2}, {0, 0, 1}, true},   // NaN is never larger
        {{nan, 3, 2}, {0, 1, 0}, false},  // and nothing is larger than NaN
        {{nan, 3, 2}, {1, 0, 0}, true},
        {{nan, nan, nan}, {1, 0, 0}, true},
    };
    for (const auto& row : rows) {
      const std::vector<T> logits = convert_to<T>(row.logits);
      for (bool gpu : {false, true})
        EXPECT_EQ(right_on<T>(gpu, 1, 3, logits, row.targets), row.right ? 10.5 : 10.0)
            << &row - rows << (gpu ? " gpu" : " cpu");
    }
    // The first of equals is not the first thread's.
    for (int tie : {3, 40, 255}) {
      std::vector<T> row(300, T(M(0)));
      row[tie] = row[256] = T(M(1));
      std::vector<float> target(300, 0.0f);
      target[tie] = 1;
      for (bool gpu : {false, true}) EXPECT_EQ(right_on<T>(gpu, 1, 300, row, target), 10.5) << tie;
    }
    const int N = 9, K = 300;
    std::vector<T> logits = normal_values<T>(N * K, 4);
    const std::vector<float> targets = soft_targets(N, K);
    for (int i = 0; i < N * K; i += 2) logits[i] = from_double<T>(8.0 * targets[i]);
    const double want = right_on<T>(false, N, K, logits, targets);
    EXPECT_GT(want, 10.0);
    EXPECT_LT(want, 10.0 + 0.5 * N);
    EXPECT_EQ(right_on<T>(true, N, K, logits, targets), want);
  });
}

TEST(LossTotals, AddLossesOnBothDevices) {
  for_each_schedule([] {
    const GpuStream stream;
    for (int N : {1, 33, 700}) {
      const std::vector<float> losses = normal_values<float>(N, 5, 7.0);
      double want = 1, sum = 0, cpu = 1;
      for (float loss : losses) sum += static_cast<double>(loss);
      want += 0.25 * sum;
      const GpuArray<float> gpu_losses(stream, losses);
      const GpuArray<double> total(stream, std::vector<double>{1});
      add_losses<float>(Stream{}, N, losses.data(), 0.25, &cpu);
      add_losses<float>(stream, N, gpu_losses.data(), 0.25, total.data());
      EXPECT_EQ(cpu, want);
      EXPECT_NEAR(total.host()[0], want, 1e-12 * want);
    }
  });
}

}  // namespace
}  // namespace mono
