// The GPU's layer normalisation, both variants, against the CPU's.
#include "kernels/layer_norm/layer_norm.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/layer_norm_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class LayerNormGpu : public ::testing::Test {};
TYPED_TEST_SUITE(LayerNormGpu, ActivationTypes);

template <class T>
struct Result {
  std::vector<T> y, applied, dx;
  std::vector<Master<T>> statistics, sums;
};

template <class T>
Result<T> on_gpu(const GpuStream& stream, LayerNormVariant variant, const LayerNormProblem& p,
                 const LayerNormOperands<T>& o, GradMode mode, int64_t offset) {
  using M = Master<T>;
  const int64_t size = static_cast<int64_t>(o.x.size());
  // Operands begin `offset` elements into their arrays: 0 is aligned for packs.
  const auto up = [&](const auto& values) {
    using V = typename std::decay_t<decltype(values)>::value_type;
    std::vector<V> padded(static_cast<size_t>(offset), V(0));
    padded.insert(padded.end(), values.begin(), values.end());
    return GpuArray<V>(stream, padded);
  };
  const auto x = up(o.x), dy = up(o.dy), dx = up(o.dx);
  const auto gamma = up(o.gamma), beta = up(o.beta);
  std::vector<M> before = o.dgamma;
  before.insert(before.end(), o.dbeta.begin(), o.dbeta.end());
  const GpuArray<M> statistics(stream, 2 * p.rows), sums(stream, before);
  const GpuArray<T> y(stream, size + offset), applied(stream, size + offset);
  M* const mean = statistics.data();
  layer_norm_forward<T>(stream, variant, p,
                        {x.data() + offset, gamma.data() + offset, beta.data() + offset, mean,
                         mean + p.rows, y.data() + offset});
  layer_norm_apply<T>(stream, variant, p,
                      {x.data() + offset, gamma.data() + offset, beta.data() + offset, mean,
                       mean + p.rows, applied.data() + offset});
  const size_t bytes = layer_norm_workspace_bytes(kGpu, p, kDTypeOf<T>);
  const GpuArray<std::byte> scratch(stream, static_cast<int64_t>(bytes));
  layer_norm_backward<T>(stream, variant, p,
                         {.dy = dy.data() + offset,
                          .x = x.data() + offset,
                          .gamma = gamma.data() + offset,
                          .mean = mean,
                          .inv_std = mean + p.rows,
                          .dx = dx.data() + offset,
                          .dx_mode = mode,
                          .dgamma = sums.data(),
                          .dbeta = sums.data() + p.D,
                          .dgamma_mode = mode,
                          .dbeta_mode = mode},
                         {scratch.data(), bytes});
  const auto down = [&](const GpuArray<T>& array) {
    const std::vector<T> all = array.host();
    return std::vector<T>(all.begin() + offset, all.end());
  };
  return {down(y), down(applied), down(dx), statistics.host(), sums.host()};
}

template <class T>
void check(LayerNormVariant variant, const LayerNormProblem& p, GradMode mode, int64_t offset) {
  using M = Master<T>;
  SCOPED_TRACE(fmt::format("{} rows of {}, offset {}", p.rows, p.D, offset));
  const GpuStream stream;
  const LayerNormOperands<T> o(p);
  const Result<T> got = on_gpu<T>(stream, variant, p, o, mode, offset);
  Result<T> want{std::vector<T>(o.x.size()), {}, o.dx, std::vector<M>(2 * p.rows), o.dgamma};
  want.sums.insert(want.sums.end(), o.dbeta.begin(), o.dbeta.end());
  M* const mean = want.statistics.data();
  layer_norm_forward<T>(
      p, {o.x.data(), o.gamma.data(), o.beta.data(), mean, mean + p.rows, want.y.data()});
  Scratch scratch(layer_norm_workspace_bytes(Device::cpu, p, kDTypeOf<T>));
  layer_norm_backward<T>(p,
                         {.dy = o.dy.data(),
                          .x = o.x.data(),
                          .gamma = o.gamma.data(),
                          .mean = mean,
                          .inv_std = mean + p.rows,
                          .dx = want.dx.data(),
                          .dx_mode = mode,
                          .dgamma = want.sums.data(),
                          .dbeta = want.sums.data() + p.D,
                          .dgamma_mode = mode,
                          .dbeta_mode = mode},
                         scratch.span());
  expect_near("y", got.y, want.y);
  EXPECT_TRUE(same_bits(got.applied, got.y));
  expect_near("statistics", got.statistics, want.statistics);
  expect_near("dx", got.dx, want.dx);
  expect_near("dgamma, dbeta", got.sums, want.sums, 0x1p-18);
}

TYPED_TEST(LayerNormGpu, MatchesTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const LayerNormProblem& p : kLayerNormCases) {
      check<T>(LayerNormVariant::naive, p, GradMode::accumulate, 0);
      if (layer_norm_choose(p, kDTypeOf<T>) != LayerNormVariant::warp_per_row) continue;
      check<T>(LayerNormVariant::warp_per_row, p, GradMode::overwrite, 0);
      check<T>(LayerNormVariant::warp_per_row, p, GradMode::accumulate, p.D < 300 ? 1 : 0);
    }
  });
}

TEST(LayerNormGpuErrors, RowsTooLongForAWarp) {
  for_each_schedule([] {
    const GpuStream stream;
    EXPECT_EQ(layer_norm_choose({3, 1100}, DType::f32), LayerNormVariant::naive);
    EXPECT_EQ(layer_norm_choose({3, 100}, DType::f64), LayerNormVariant::naive);
    EXPECT_THROW(layer_norm_forward<float>(stream, LayerNormVariant::warp_per_row, {3, 1100}, {}),
                 Error);
  });
}

}  // namespace
}  // namespace mono
