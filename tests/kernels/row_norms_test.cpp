// l2_normalise and weight_norm on the CPU against their definitions.
#include "tests/kernels/row_norms_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class L2Normalise : public ::testing::Test {};
TYPED_TEST_SUITE(L2Normalise, ActivationTypes);

TYPED_TEST(L2Normalise, MatchesTheDefinition) {
  using T = TypeParam;
  for (const int rows : {1, 7, 33})
    for (const int C : {2, 31, 512}) {
      const std::vector<T> x = normal_values<T>(int64_t{rows} * C, 1),
                           dy = normal_values<T>(int64_t{rows} * C, 2);
      const Normalised<T> got = run_l2_normalise<T>(false, rows, C, 1e-12, x, dy);
      const Normalised<T> plain = define_l2_normalise<T>(rows, C, 1e-12, x, dy);
      const Normalised<double> want = define_l2_normalise<double>(
          rows, C, 1e-12, convert_to<double>(x), convert_to<double>(dy));
      expect_close("y", got.y, plain.y, want.y);
      expect_close("norms", got.norms, plain.norms, want.norms);
      expect_close("dx", got.dx, plain.dx, want.dx);
      expect_close("dx added", got.dx_sum, plain.dx_sum, want.dx_sum);
    }
}

TEST(L2NormaliseEdges, ARowShorterThanEpsIsDividedByEps) {
  const std::vector<double> x = {0, 0, 3e-4, 4e-4, 3, 4}, dy = {1, 2, 1, 2, 1, 2};
  const Normalised<double> got = run_l2_normalise<double>(false, 3, 2, 1e-2, x, dy);
  EXPECT_EQ(got.norms, (std::vector<double>{1e-2, 1e-2, 5}));
  EXPECT_EQ(got.dx[0], 1 / 1e-2);
  EXPECT_EQ(got.dx[2], 1 / 1e-2);
  EXPECT_NEAR(got.y[2], 3e-2, 1e-15);
  EXPECT_NEAR(got.dx[4], (1 - 0.6 * (0.6 + 1.6)) / 5, 1e-15);
}

TYPED_TEST(L2Normalise, ThreadsAgree) {
  using T = TypeParam;
  const std::vector<T> x = normal_values<T>(9 * 33, 3), dy = normal_values<T>(9 * 33, 4);
  same_for_any_threads([&] { return run_l2_normalise<T>(false, 9, 33, 1e-12, x, dy).dx; });
}

template <class M>
class WeightNorm : public ::testing::Test {};
using Masters = ::testing::Types<float, double>;
TYPED_TEST_SUITE(WeightNorm, Masters);

TYPED_TEST(WeightNorm, MatchesTheDefinition) {
  using M = TypeParam;
  for (const int rows : {1, 7, 33})
    for (const int C : {2, 31, 512}) {
      const std::vector<M> v = normal_values<M>(int64_t{rows} * C, 1),
                           g = normal_values<M>(rows, 2),
                           dw = normal_values<M>(int64_t{rows} * C, 3);
      const WeightNormed<M> got = run_weight_norm<M>(false, rows, C, v, g, dw);
      const WeightNormed<M> plain = define_weight_norm<M>(rows, C, v, g, dw);
      const WeightNormed<double> want = define_weight_norm<double>(
          rows, C, convert_to<double>(v), convert_to<double>(g), convert_to<double>(dw));
      expect_close("w", got.w, plain.w, want.w);
      expect_close("dv", got.dv, plain.dv, want.dv);
      expect_close("dv added", got.dv_sum, plain.dv_sum, want.dv_sum);
      expect_close("dg", got.dg, plain.dg, want.dg);
      expect_close("dg added", got.dg_sum, plain.dg_sum, want.dg_sum);
      same_for_any_threads([&] { return run_weight_norm<M>(false, rows, C, v, g, dw).dv; });
    }
}

}  // namespace
}  // namespace mono
