#include "kernels/cross_entropy/cross_entropy.h"

#include "tests/kernels/cross_entropy_cases.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
struct Result {
  std::vector<Master<T>> losses, log_sum_exp;
  std::vector<T> dlogits;
};

template <class T>
Result<T> run(int N, int K, const std::vector<T>& logits, const std::vector<float>& targets,
              double weight) {
  Guarded<Master<T>> losses(N), log_sum_exp(N);
  Guarded<T> dlogits(int64_t{N} * K);
  cross_entropy_forward(N, K, logits.data(), targets.data(), losses.data(), log_sum_exp.data());
  cross_entropy_backward(N, K, logits.data(), targets.data(), log_sum_exp.data(),
                         static_cast<Master<T>>(weight), dlogits.data(), GradMode::overwrite);
  return {losses.copy(), log_sum_exp.copy(), dlogits.copy()};
}

// The definition in type M, shifted by the maximum.
template <class T>
Result<T> plain(int N, int K, const std::vector<T>& logits, const std::vector<float>& targets,
                double weight) {
  using M = Master<T>;
  Result<T> out;
  for (int n = 0; n < N; ++n) {
    const auto y = [&](int k) { return static_cast<M>(logits[n * K + k]); };
    const auto t = [&](int k) { return static_cast<M>(targets[n * K + k]); };
    M highest = y(0), sum = 0, loss = 0, mass = 0;
    for (int k = 0; k < K; ++k) highest = std::max(highest, y(k));
    for (int k = 0; k < K; ++k) sum += std::exp(y(k) - highest);
    const M log_sum_exp = highest + std::log(sum);
    for (int k = 0; k < K; ++k) loss -= t(k) * (y(k) - log_sum_exp);
    for (int k = 0; k < K; ++k) mass += t(k);
    for (int k = 0; k < K; ++k)
      out.dlogits.push_back(
          T(static_cast<M>(weight) * (mass * std::exp(y(k) - log_sum_exp) - t(k))));
    out.losses.push_back(loss);
    out.log_sum_exp.push_back(log_sum_exp);
  }
  return out;
}

template <class T>
class CrossEntropy : public ::testing::Test {};
TYPED_TEST_SUITE(CrossEntropy, ActivationTypes);

TYPED_TEST(CrossEntropy, MatchesTheDefinition) {
  using T = TypeParam;
  for (int N : {1, 7})
    for (int K : {1, 7, 31, 33, 1139}) {
      const std::vector<T> logits = normal_values<T>(int64_t{N} * K, K, 50.0, 4.0);
      const std::vector<float> targets = soft_targets(N, K);
      const Result<T> got = run(N, K, logits, targets, 0.125);
      const Result<T> rounded = plain(N, K, logits, targets, 0.125);
      const Result<double> want = plain(N, K, convert_to<double>(logits), targets, 0.125);
      expect_close("log-sum-exp", got.log_sum_exp, rounded.log_sum_exp, want.log_sum_exp);
      if (K == 1) continue;  // the loss is 0, and errors have no scale
      expect_close("losses", got.losses, rounded.losses, want.losses);
      expect_close("dlogits", got.dlogits, rounded.dlogits, want.dlogits);
    }
}

TEST(CrossEntropyGradient, FiniteDifferences) {
  const int N = 3, K = 5;
  std::vector<double> logits = normal_values<double>(N * K, 9);
  std::vector<float> targets = soft_targets(N, K);
  targets[2] += 0.25f;  // a row whose mass is not 1
  const Result<double> at = run(N, K, logits, targets, 1.0);
  for (int i = 0; i < N * K; ++i) {
    const double h = 1e-6, before = logits[i];
    logits[i] = before + h;
    const double up = run(N, K, logits, targets, 1.0).losses[i / K];
    logits[i] = before - h;
    const double down = run(N, K, logits, targets, 1.0).losses[i / K];
    logits[i] = before;
    EXPECT_NEAR((up - down) / (2 * h), at.dlogits[i], 1e-8);
  }
}

TYPED_TEST(CrossEntropy, AccumulatesAndThreadsAgree) {
  using T = TypeParam;
  using M = Master<T>;
  const int N = 9, K = 33;
  const std::vector<T> logits = normal_values<T>(N * K, 4);
  const std::vector<float> targets = soft_targets(N, K);
  const std::vector<T> once =
      same_for_any_threads([&] { return run(N, K, logits, targets, 0.5).dlogits; });
  const Result<T> forward = run(N, K, logits, targets, 0.5);
  std::vector<T> sum(N * K, T(M(1)));
  cross_entropy_backward(N, K, logits.data(), targets.data(), forward.log_sum_exp.data(), M(0.5),
                         sum.data(), GradMode::accumulate);
  for (int i = 0; i < N * K; ++i)
    ASSERT_NEAR(static_cast<M>(sum[i]), 1 + static_cast<M>(once[i]), 0.01);
}

TEST(CrossEntropyErrors, LogitsThatAreNotFiniteReachTheLoss) {
  const float nan = std::nanf(""), infinity = std::numeric_limits<float>::infinity();
  for (float bad : {nan, infinity})
    for (int at = 0; at < 3; ++at) {
      std::vector<float> logits = {1, 2, 3};
      logits[at] = bad;
      EXPECT_FALSE(std::isfinite(run<float>(1, 3, logits, {0, 1, 0}, 1.0).losses[0]));
    }
  // Huge finite logits do not overflow.
  EXPECT_TRUE(std::isfinite(run<float>(1, 3, {1e30f, -1e30f, 0}, {1, 0, 0}, 1.0).losses[0]));
}

}  // namespace
}  // namespace mono
