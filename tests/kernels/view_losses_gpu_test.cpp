// dino, barlow, byol and domain_centring on the GPU against the CPU's, whose own test has the
// definitions.
#include "tests/kernels/view_losses_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
void expect_same(const LossResult<T>& got, const LossResult<T>& want, double f32 = 0x1p-19) {
  expect_near("losses", got.losses, want.losses, f32);
  expect_near("gradient", got.dstudent, want.dstudent, f32);
  expect_near("gradient added", got.sum, want.sum, f32);
}

template <class T>
class ViewLossesGpu : public ::testing::Test {};
TYPED_TEST_SUITE(ViewLossesGpu, ActivationTypes);

TYPED_TEST(ViewLossesGpu, DinoMatchesTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const auto& [teachers, views, B, K] :
         {std::tuple(2, 8, 1, 33), {2, 2, 1, 2}, {1, 3, 2, 7}, {2, 3, 1, 517}}) {
      SCOPED_TRACE(std::to_string(views) + " views of " + std::to_string(K));
      ViewPairs pairs = pairs_of(teachers, views);
      if (views == 3) pairs.learners[0] &= 3, pairs.learners[1] &= 3;  // one learns from nobody
      const std::vector<T> student = normal_values<T>(int64_t{views} * B * K, 1, 0, 0.4);
      const auto teacher = normal_values<Master<T>>(int64_t{teachers} * B * K, 2, 50, 3);
      expect_same(run_dino<T>(true, B, K, pairs, student, teacher, 0.1, 0.7, 0.5),
                  run_dino<T>(false, B, K, pairs, student, teacher, 0.1, 0.7, 0.5));
    }
  });
}

TYPED_TEST(ViewLossesGpu, ByolMatchesTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const auto& [B, C, eps] : {std::tuple(1, 2, 1e-12), {3, 31, 1e-12}, {2, 256, 50.0}}) {
      SCOPED_TRACE(C);
      const std::vector<T> p = normal_values<T>(int64_t{2} * B * C, 1),
                           z = normal_values<T>(int64_t{2} * B * C, 2);
      expect_same(run_byol<T>(true, B, C, p, z, eps, 0.5),
                  run_byol<T>(false, B, C, p, z, eps, 0.5));
    }
  });
}

TYPED_TEST(ViewLossesGpu, BarlowMatchesTheCpuInBothVariants) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const auto& [teachers, views, groups, B, K, temperature] :
         {std::tuple(2, 2, 1, 9, 33, 0.1),
          {2, 2, 1, 2, 2, 0.1},
          {1, 1, 2, 4, 31, 1.0},
          {2, 3, 1, 3, 65, 0.5}}) {
      BarlowProblem p;
      p.B = B;
      p.K = K;
      p.groups = groups;
      p.pairs = pairs_of(teachers, views);
      if (views == 3) p.pairs.learners[0] &= 3, p.pairs.learners[1] &= 3;
      const std::vector<T> student = normal_values<T>(int64_t{views} * p.N() * K, 1, 0.2, 0.4);
      const auto teacher = normal_values<Master<T>>(int64_t{teachers} * p.N() * K, 2, 5, 3);
      for (const BarlowVariant variant : {BarlowVariant::direct, BarlowVariant::gram}) {
        if (variant == BarlowVariant::direct && (K == 2 || K == 65)) continue;  // many products
        SCOPED_TRACE((variant == BarlowVariant::gram ? "gram " : "direct ") + std::to_string(K));
        expect_same(run_barlow<T>(true, variant, p, student, teacher, temperature, 0.5),
                    run_barlow<T>(false, variant, p, student, teacher, temperature, 0.5), 0x1p-16);
      }
    }
  });
}

TYPED_TEST(ViewLossesGpu, CentringMatchesTheCpu) {
  using T = TypeParam;
  using M = Master<T>;
  for_each_schedule([] {
    for (const int K : {1, 33, 301}) {
      const std::vector<int> ids = {0, 2, 0, 0, 2, 3, 0};
      const std::vector<T> x = normal_values<T>(7 * K, 1);
      const std::vector<M> centres = normal_values<M>(4 * K, 2);
      for (const std::vector<double>& shares :
           {std::vector<double>{}, std::vector<double>{0.5, 0.2, 0.3, 0.0}}) {
        const Centred<T> got = run_centring<T>(true, 7, K, 4, x, ids, shares, centres);
        const Centred<T> want = run_centring<T>(false, 7, K, 4, x, ids, shares, centres);
        EXPECT_TRUE(same_bits(got.y, want.y));
        EXPECT_TRUE(same_bits(got.centres, want.centres));
      }
      const std::vector<M> one(centres.begin(), centres.begin() + K);
      EXPECT_TRUE(same_bits(run_centring<T>(true, 7, K, 1, x, {}, {1.0}, one).centres,
                            run_centring<T>(false, 7, K, 1, x, {}, {1.0}, one).centres));
    }
  });
}

TEST(ViewLossesGpuEdges, LogitsThatAreNotFiniteReachTheLosses) {
  for_each_schedule([] {
    std::vector<float> student(8, 1.0f);
    student[5] = std::nanf("");
    const std::vector<float> teacher(4, 0.5f);
    const ViewPairs pairs = pairs_of(1, 2);
    EXPECT_FALSE(
        std::isfinite(run_dino<float>(true, 2, 2, pairs, student, teacher, 1, 1, 1).losses[2]));
    BarlowProblem p;
    p.B = p.K = 2;
    p.pairs = pairs;
    EXPECT_FALSE(std::isfinite(
        run_barlow<float>(true, BarlowVariant::gram, p, student, teacher, 1, 1).losses[1]));
    EXPECT_FALSE(std::isfinite(run_byol<float>(true, 2, 2, student, student, 1e-12, 1).losses[2]));
  });
}

}  // namespace
}  // namespace mono
