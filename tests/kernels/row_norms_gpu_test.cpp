// l2_normalise and weight_norm on the GPU against the CPU's, whose own test has the definitions.
#include "tests/kernels/row_norms_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class L2NormaliseGpu : public ::testing::Test {};
TYPED_TEST_SUITE(L2NormaliseGpu, ActivationTypes);

TYPED_TEST(L2NormaliseGpu, MatchesTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const auto& [rows, C, eps] :
         {std::tuple(1, 2, 1e-12), {7, 31, 1e-12}, {33, 33, 1e-12}, {9, 512, 1e-12}, {3, 7, 5.0}}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(C));
      const std::vector<T> x = normal_values<T>(int64_t{rows} * C, 1),
                           dy = normal_values<T>(int64_t{rows} * C, 2);
      const Normalised<T> got = run_l2_normalise<T>(true, rows, C, eps, x, dy);
      const Normalised<T> want = run_l2_normalise<T>(false, rows, C, eps, x, dy);
      expect_near("y", got.y, want.y);
      expect_near("norms", got.norms, want.norms);
      expect_near("dx", got.dx, want.dx);
      expect_near("dx added", got.dx_sum, want.dx_sum);
    }
  });
}

template <class M>
class WeightNormGpu : public ::testing::Test {};
using Masters = ::testing::Types<float, double>;
TYPED_TEST_SUITE(WeightNormGpu, Masters);

TYPED_TEST(WeightNormGpu, MatchesTheCpu) {
  using M = TypeParam;
  for_each_schedule([] {
    for (const auto& [rows, C] : {std::pair(1, 2), {7, 31}, {33, 33}, {9, 512}}) {
      SCOPED_TRACE(std::to_string(rows) + " x " + std::to_string(C));
      const std::vector<M> v = normal_values<M>(int64_t{rows} * C, 1),
                           g = normal_values<M>(rows, 2),
                           dw = normal_values<M>(int64_t{rows} * C, 3);
      const WeightNormed<M> got = run_weight_norm<M>(true, rows, C, v, g, dw);
      const WeightNormed<M> want = run_weight_norm<M>(false, rows, C, v, g, dw);
      expect_near("w", got.w, want.w);
      expect_near("dv", got.dv, want.dv);
      expect_near("dv added", got.dv_sum, want.dv_sum);
      expect_near("dg", got.dg, want.dg);
      expect_near("dg added", got.dg_sum, want.dg_sum);
    }
  });
}

}  // namespace
}  // namespace mono
