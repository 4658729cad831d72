// Layer normalisation on the CPU against its definition in f64, by the rule of errors.
#include "kernels/layer_norm/layer_norm.h"

#include "tests/kernels/layer_norm_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class LayerNormCpu : public ::testing::Test {};
TYPED_TEST_SUITE(LayerNormCpu, ActivationTypes);

template <class T>
Scratch scratch_for(const LayerNormProblem& p) {
  return Scratch(layer_norm_workspace_bytes(Device::cpu, p, kDTypeOf<T>));
}

TYPED_TEST(LayerNormCpu, IsItsDefinition) {
  using T = TypeParam;
  using M = Master<T>;
  for (const LayerNormProblem& p : kLayerNormCases) {
    SCOPED_TRACE(fmt::format("{} rows of {}", p.rows, p.D));
    const LayerNormOperands<T> o(p);
    const LayerNormDefinition<T, double> truth(p, o);
    const LayerNormDefinition<T, M> plain(p, o);
    const int64_t size = static_cast<int64_t>(o.x.size());
    Guarded<T> y(size), again(size);
    Guarded<M> mean(p.rows), inv_std(p.rows);
    layer_norm_forward<T>(
        p, {o.x.data(), o.gamma.data(), o.beta.data(), mean.data(), inv_std.data(), y.data()});
    expect_close<T>("y", y.copy(), convert_to<T>(plain.y), truth.y);
    expect_close<M>("mean", mean.copy(), convert_to<M>(plain.mean), truth.mean);
    expect_close<M>("inv_std", inv_std.copy(), convert_to<M>(plain.inv_std), truth.inv_std);
    layer_norm_apply<T>(
        p, {o.x.data(), o.gamma.data(), o.beta.data(), mean.data(), inv_std.data(), again.data()});
    EXPECT_TRUE(same_bits(y.copy(), again.copy()));

    for (const bool accumulate : {false, true}) {
      Guarded<T> dx(size);
      std::copy(o.dx.begin(), o.dx.end(), dx.data());
      std::vector<M> dgamma = o.dgamma, dbeta = o.dbeta;
      const GradMode mode = accumulate ? GradMode::accumulate : GradMode::overwrite;
      Scratch scratch = scratch_for<T>(p);
      layer_norm_backward<T>(p,
                             {.dy = o.dy.data(),
                              .x = o.x.data(),
                              .gamma = o.gamma.data(),
                              .mean = mean.data(),
                              .inv_std = inv_std.data(),
                              .dx = dx.data(),
                              .dx_mode = mode,
                              .dgamma = dgamma.data(),
                              .dbeta = dbeta.data(),
                              .dgamma_mode = mode,
                              .dbeta_mode = mode},
                             scratch.span());
      const auto with = [&](const std::vector<double>& values, const auto& before) {
        return accumulate ? plus(values, before) : values;
      };
      expect_close<T>("dx", dx.copy(), convert_to<T>(with(plain.dx, o.dx)), with(truth.dx, o.dx));
      expect_close<M>("dgamma", dgamma, convert_to<M>(with(plain.dgamma, o.dgamma)),
                      with(truth.dgamma, o.dgamma));
      expect_close<M>("dbeta", dbeta, convert_to<M>(with(plain.dbeta, o.dbeta)),
                      with(truth.dbeta, o.dbeta));
    }
  }
}

TYPED_TEST(LayerNormCpu, HasTheSameBitsForAnyNumberOfThreads) {
  using T = TypeParam;
  using M = Master<T>;
  const LayerNormProblem p{300, 40};
  const LayerNormOperands<T> o(p);
  same_for_any_threads([&] {
    std::vector<M> mean(300), inv_std(300), sums(80);
    std::vector<T> y(o.x.size()), dx(o.x.size());
    layer_norm_forward<T>(
        p, {o.x.data(), o.gamma.data(), o.beta.data(), mean.data(), inv_std.data(), y.data()});
    Scratch scratch = scratch_for<T>(p);
    layer_norm_backward<T>(p,
                           {.dy = o.dy.data(),
                            .x = o.x.data(),
                            .gamma = o.gamma.data(),
                            .mean = mean.data(),
                            .inv_std = inv_std.data(),
                            .dx = dx.data(),
                            .dgamma = sums.data(),
                            .dbeta = sums.data() + 40},
                           scratch.span());
    std::vector<double> all = convert_to<double>(y);
    for (const auto& values : {convert_to<double>(dx), convert_to<double>(sums)})
      all.insert(all.end(), values.begin(), values.end());
    return all;
  });
}

// Where the mean is 10,000 times the deviation, E[x^2] - E[x]^2 in f32 has no correct digit.
TEST(LayerNormStatistics, SurviveALargeMean) {
  const LayerNormProblem p{4, 384};
  std::vector<float> x = normal_values<float>(4 * 384, 1);
  for (float& v : x) v += 10000.0f;
  LayerNormOperands<float> o(p);
  o.x = x;
  const LayerNormDefinition<float, double> truth(p, o);
  std::vector<float> mean(4), inv_std(4);
  layer_norm_forward<float>(
      p, {x.data(), o.gamma.data(), o.beta.data(), mean.data(), inv_std.data(), nullptr});
  for (size_t r = 0; r < 4; ++r) EXPECT_NEAR(inv_std[r] / truth.inv_std[r], 1, 1e-5);
}

TEST(LayerNormErrors, NameTheProblem) {
  EXPECT_THROW(layer_norm_forward<float>({0, 4}, {}), Error);
  EXPECT_THROW(layer_norm_forward<float>({4, 0}, {}), Error);
}

}  // namespace
}  // namespace mono
