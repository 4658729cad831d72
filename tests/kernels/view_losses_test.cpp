// dino, barlow, byol and domain_centring on the CPU against their definitions.
#include "tests/kernels/view_losses_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
void expect_loss(const LossResult<T>& got, const LossResult<T>& plain,
                 const LossResult<double>& want) {
  expect_close("losses", got.losses, plain.losses, want.losses);
  expect_close("gradient", got.dstudent, plain.dstudent, want.dstudent);
  expect_close("gradient added", got.sum, plain.sum, want.sum);
}

template <class T>
class ViewLosses : public ::testing::Test {};
TYPED_TEST_SUITE(ViewLosses, ActivationTypes);

TYPED_TEST(ViewLosses, DinoMatchesItsDefinition) {
  using T = TypeParam;
  for (const auto& [teachers, views, B, K] :
       {std::tuple(2, 8, 3, 33), {2, 2, 1, 2}, {1, 3, 2, 7}, {2, 5, 4, 512}}) {
    SCOPED_TRACE(std::to_string(views) + " views");
    const ViewPairs pairs = pairs_of(teachers, views);
    const std::vector<T> student = normal_values<T>(int64_t{views} * B * K, 1, 0, 0.4);
    const auto teacher = normal_values<Master<T>>(int64_t{teachers} * B * K, 2, 50, 3);
    const LossResult<T> got = run_dino<T>(false, B, K, pairs, student, teacher, 0.1, 0.7, 0.5);
    expect_loss(got, define_dino<T>(B, K, pairs, student, teacher, 0.1, 0.7, 0.5),
                define_dino<double>(B, K, pairs, convert_to<double>(student),
                                    convert_to<double>(teacher), 0.1, 0.7, 0.5));
  }
}

TYPED_TEST(ViewLosses, ByolMatchesItsDefinition) {
  using T = TypeParam;
  for (const auto& [B, C] : {std::pair(1, 2), {3, 31}, {5, 256}}) {
    const std::vector<T> p = normal_values<T>(int64_t{2} * B * C, 1),
                         z = normal_values<T>(int64_t{2} * B * C, 2);
    const LossResult<T> got = run_byol<T>(false, B, C, p, z, 1e-12, 0.5);
    expect_loss(got, define_byol<T>(B, C, p, z, 0.5),
                define_byol<double>(B, C, convert_to<double>(p), convert_to<double>(z), 0.5));
  }
}

TEST(ViewLossesEdges, APredictionOfZeroHasAFiniteGradient) {
  const LossResult<double> got = run_byol<double>(false, 1, 2, {0, 0, 3, 4}, {3, 4, 0, 0}, 1e-3, 1);
  EXPECT_EQ(got.losses[0], 3);  // cosine 0: the other view's target is 0, too
  EXPECT_NEAR(got.losses[1], 0, 1e-15);
  for (const double g : got.dstudent) EXPECT_NEAR(g, 0, 1e-15);
  const LossResult<double> other =
      run_byol<double>(false, 1, 2, {0, 0, 3, 4}, {0, 0, 3, 4}, 1e-3, 1);
  EXPECT_NEAR(other.dstudent[0], -2 * 1.5 * 0.6 / 1e-3, 1e-9);  // as of a length of 1e-3
}

TYPED_TEST(ViewLosses, BarlowMatchesItsDefinitionInBothVariants) {
  using T = TypeParam;
  for (const auto& [teachers, views, groups, B, K, temperature] : {std::tuple(2, 8, 1, 5, 33, 0.1),
                                                                   {2, 2, 1, 3, 2, 0.1},
                                                                   {1, 1, 2, 4, 31, 1.0},
                                                                   {2, 3, 1, 9, 130, 0.5}}) {
    BarlowProblem p;
    p.B = B;
    p.K = K;
    p.groups = groups;
    p.pairs = pairs_of(teachers, views);
    const std::vector<T> student = normal_values<T>(int64_t{views} * p.N() * K, 1, 0.2, 0.4);
    const auto teacher = normal_values<Master<T>>(int64_t{teachers} * p.N() * K, 2, 5, 3);
    const LossResult<T> plain = define_barlow<T>(p, student, teacher, temperature, 0.5);
    const LossResult<double> want = define_barlow<double>(
        p, convert_to<double>(student), convert_to<double>(teacher), temperature, 0.5);
    for (const BarlowVariant variant : {BarlowVariant::direct, BarlowVariant::gram}) {
      SCOPED_TRACE((variant == BarlowVariant::gram ? "gram " : "direct ") + std::to_string(K));
      expect_loss(run_barlow<T>(false, variant, p, student, teacher, temperature, 0.5), plain,
                  want);
    }
  }
}

// K >> B, as in the paper: the sum of squares over the off-diagonal, as a difference, keeps its
// digits.
TEST(ViewLossesEdges, BarlowByGramMatricesKeepsItsDigits) {
  BarlowProblem p;
  p.B = 6;
  p.K = 700;
  p.pairs = pairs_of(2, 2);
  const std::vector<float> student = normal_values<float>(int64_t{2} * p.B * p.K, 1);
  for (const bool collapsed : {false, true}) {
    std::vector<float> teacher = normal_values<float>(int64_t{2} * p.B * p.K, 2);
    if (collapsed)  // every feature is the first one
      for (size_t i = 0; i < teacher.size(); ++i) teacher[i] = teacher[i / p.K * p.K];
    const LossResult<double> want =
        run_barlow<double>(false, BarlowVariant::direct, p, convert_to<double>(student),
                           convert_to<double>(teacher), 0.1, 1);
    const LossResult<float> got =
        run_barlow<float>(false, BarlowVariant::gram, p, student, teacher, 0.1, 1);
    EXPECT_LE(error_of(got.losses, want.losses), 2e-6) << collapsed;
    EXPECT_LE(error_of(got.dstudent, want.dstudent), 1e-5) << collapsed;
  }
}

TEST(ViewLossesEdges, WhatCannotBeCorrelatedIsRefused) {
  BarlowProblem p;
  p.B = 1;
  p.K = 4;
  p.pairs = pairs_of(2, 2);
  const std::vector<float> values(8);
  EXPECT_THROW(run_barlow<float>(false, BarlowVariant::gram, p, values, values, 1, 1), Error);
  p.B = 2;
  p.pairs.add(0, 2);  // a third view
  EXPECT_THROW(run_barlow<float>(false, BarlowVariant::gram, p, values, values, 1, 1), Error);
}

TYPED_TEST(ViewLosses, CentresMoveByTheWeightOfTheirDomain) {
  using T = TypeParam;
  using M = Master<T>;
  const int rows = 7, K = 301, domains = 4;
  const std::vector<int> ids = {0, 2, 0, 0, 2, 3, 0};
  const std::vector<double> shares = {0.5, 0.2, 0.3, 0.0};  // 3 has no training images
  const std::vector<T> x = normal_values<T>(rows * K, 1);
  const std::vector<M> centres = normal_values<M>(domains * K, 2);
  for (const bool weighted : {true, false}) {
    const Centred<T> got = run_centring<T>(false, rows, K, domains, x, ids,
                                           weighted ? shares : std::vector<double>{}, centres);
    const double weights[] = {weighted ? 4 / 7.0 / 0.5 : 1, 0, weighted ? 2 / 7.0 / 0.3 : 1,
                              weighted ? 10.0 : 1};
    for (int d = 0; d < domains; ++d)
      for (int k = 0; k < K; ++k) {
        double mean = 0;
        int count = 0;
        for (int r = 0; r < rows; ++r)
          if (ids[r] == d) ++count, mean += to_double(x[r * K + k]);
        mean = count ? mean / count : 0;
        const double before = to_double(centres[d * K + k]), step = 0.1 * weights[d];
        const double want = (1 - step) * before + step * mean;
        ASSERT_NEAR(got.centres[d * K + k], want, sizeof(M) == 8 ? 1e-14 : 4e-7) << d << " " << k;
        if (count == 0) {
          ASSERT_EQ(got.centres[d * K + k], centres[d * K + k]);
        }
      }
    for (int r = 0; r < rows; ++r)
      for (int k = 0; k < K; ++k)
        ASSERT_NEAR(got.y[r * K + k],
                    (to_double(x[r * K + k]) - to_double(centres[ids[r] * K + k])) / 0.05,
                    sizeof(M) == 8 ? 1e-12 : 2e-5);
  }
  // One centre for all rows.
  const std::vector<M> one(centres.begin(), centres.begin() + K);
  const Centred<T> got = run_centring<T>(false, rows, K, 1, x, {}, {1.0}, one);
  for (int k = 0; k < K; ++k) {
    double mean = 0;
    for (int r = 0; r < rows; ++r) mean += to_double(x[r * K + k]) / rows;
    ASSERT_NEAR(got.centres[k], 0.9 * to_double(one[k]) + 0.1 * mean, 4e-7);
  }
}

TEST(ViewLossesEdges, ADomainThatIsNotThereIsRefused) {
  EXPECT_THROW(run_centring<float>(false, 2, 3, 2, std::vector<float>(6), {0, 2}, {0.5, 0.5},
                                   std::vector<float>(6)),
               Error);
}

TYPED_TEST(ViewLosses, ThreadsAgree) {
  using T = TypeParam;
  const ViewPairs pairs = pairs_of(2, 4);
  BarlowProblem p;
  p.B = 5;
  p.K = 300;
  p.pairs = pairs;
  const int64_t view = int64_t{p.B} * p.K;
  const std::vector<T> student = normal_values<T>(4 * view, 1);
  const auto teacher = normal_values<Master<T>>(2 * view, 2);
  same_for_any_threads(
      [&] { return run_dino<T>(false, p.B, p.K, pairs, student, teacher, 0.1, 1, 1).dstudent; });
  same_for_any_threads([&] {
    return run_barlow<T>(false, BarlowVariant::gram, p, student, teacher, 0.1, 1).dstudent;
  });
  same_for_any_threads(
      [&] { return run_byol<T>(false, 10, 300, student, student, 1e-12, 1).dstudent; });
  same_for_any_threads([&] {
    return run_centring<T>(false, 20, 300, 2, student, std::vector<int>(20, 1), {0.5, 0.5},
                           std::vector<Master<T>>(600))
        .centres;
  });
}

TEST(ViewLossesEdges, LogitsThatAreNotFiniteReachTheLosses) {
  const float nan = std::nanf("");
  std::vector<float> student(8, 1.0f);
  student[5] = nan;
  const std::vector<float> teacher(4, 0.5f);
  ViewPairs pairs = pairs_of(1, 2);
  EXPECT_FALSE(
      std::isfinite(run_dino<float>(false, 2, 2, pairs, student, teacher, 1, 1, 1).losses[2]));
  BarlowProblem p;
  p.B = p.K = 2;
  p.pairs = pairs;
  EXPECT_FALSE(std::isfinite(
      run_barlow<float>(false, BarlowVariant::gram, p, student, teacher, 1, 1).losses[1]));
  EXPECT_FALSE(std::isfinite(run_byol<float>(false, 2, 2, student, student, 1e-12, 1).losses[2]));
}

}  // namespace
}  // namespace mono
