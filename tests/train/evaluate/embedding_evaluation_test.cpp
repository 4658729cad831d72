// What the evaluations say where there is little or nothing to say: ties, few rows, one row a
// domain, constant features, zeros, NaN. Golden values are in golden_evaluation_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"
#include "train/evaluate/grit.h"
#include "train/evaluate/kbet.h"
#include "train/evaluate/knn.h"
#include "train/evaluate/linear_probe.h"
#include "train/evaluate/moa.h"
#include "train/evaluate/post_processing.h"
#include "train/evaluate/z_norm.h"

namespace mono {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

Features random_features(int rows, int width, uint64_t seed = 1) {
  Features features(rows, width);
  Philox draw(seed, Purpose::test);
  for (float& value : features.values) value = static_cast<float>(draw.normal());
  return features;
}

Features rows_of(int width, std::initializer_list<float> values) {
  Features features(static_cast<int>(values.size()) / width, width);
  std::ranges::copy(values, features.values.begin());
  return features;
}

std::vector<int> cycle(int rows, int count) {
  std::vector<int> numbers;
  for (int i = 0; i < rows; ++i) numbers.push_back(i % count);
  return numbers;
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data) << error.what();
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

TEST(Knn, WeighsByExpOfSimilarityAndTiesGoToTheLowestClass) {
  // A row at cosine 1 weighs exp(10); three at 0 weigh 1 each.
  const Features bank = rows_of(2, {1, 0, 0, 1, 0, 2, 0, 3});
  const Features query = rows_of(2, {5, 0, 0, 5});
  KnnOptions options;
  options.k = 4;
  const Knn near = knn(bank, std::vector{7, 2, 2, 2}, query, std::vector{7, 2}, options);
  EXPECT_THAT(near.predicted, ElementsAre(7, 2));
  EXPECT_EQ(near.accuracy.correct, 2);
  // At a high temperature three votes beat one.
  options.temperature = 100;
  EXPECT_THAT(knn(bank, std::vector{7, 2, 2, 2}, query, std::vector{-1, 2}, options).predicted,
              ElementsAre(2, 2));
  // Equal sums: class 3 before class 9, in whatever order they come.
  options.k = 2;
  const Features twins = rows_of(2, {1, 0, 1, 0});
  const Features one = rows_of(2, {1, 0});
  for (const auto& labels : {std::vector{9, 3}, std::vector{3, 9}})
    EXPECT_THAT(knn(twins, labels, one, std::vector{-1}, options).predicted, ElementsAre(3));
}

TEST(Knn, LeavesUnlabelledQueriesOutOfTheShareAndOwnRowsOutOfTheBank) {
  const Features features = rows_of(2, {1, 0, 1, 0.1f, 0, 1, 0.1f, 1, 1, 1});
  KnnOptions options;
  options.k = 1;
  const Knn found = knn_leave_one_out(features, std::vector{0, 0, 1, 1, -1}, {}, options);
  EXPECT_THAT(found.predicted, ElementsAre(0, 0, 1, 1, -1));
  EXPECT_EQ(found.accuracy.images, 4);
  EXPECT_EQ(found.accuracy.correct, 4);
  // The only row of its class cannot be right without itself.
  const Knn alone = knn_leave_one_out(features, std::vector{0, 0, 1, 2, -1}, {}, options);
  EXPECT_EQ(alone.accuracy.correct, 2);
  // Rows of one well do not vote for each other.
  const Knn wells =
      knn_leave_one_out(features, std::vector{0, 0, 1, 1, -1}, std::vector{0, 0, 1, 1, 2}, options);
  EXPECT_EQ(wells.accuracy.correct, 0);
}

TEST(Knn, NeedsAsManyRowsAsNeighbours) {
  const Features features = random_features(9, 4);
  const std::vector<int> labels = cycle(9, 3);
  EXPECT_THAT(error_of([&] { knn(features, labels, features, labels); }),
              HasSubstr("10 neighbours are asked for, but the bank has 9 rows"));
  Features broken = random_features(12, 4);
  broken.row(3)[1] = kNan;
  EXPECT_THAT(error_of([&] { knn(broken, cycle(12, 3), features, labels); }), HasSubstr("row 3"));
}

TEST(ZNorm, NeedsTwoRowsAndMakesConstantColumnsZero) {
  const Features features = random_features(7, 3);
  EXPECT_THAT(error_of([&] {
                z_norm(features, std::vector{0, 0, 0, 4, 1, 1, 1}, {}, ZNorm::all);
              }),
              HasSubstr("Z-norm (all): domain 4 has 1 of 1 rows"));
  EXPECT_THAT(
      error_of([&] {
        z_norm(features, cycle(7, 1), std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 0}, ZNorm::controls);
      }),
      HasSubstr("domain 0 has 1 of 7 rows"));
  Features same(4, 2);
  for (int i = 0; i < 4; ++i) same.row(i)[0] = 0.3f;
  EXPECT_THAT(z_norm(same, cycle(4, 1), {}, ZNorm::all).values, Each(0.0f));
}

TEST(ZNorm, ALastBatchOfOneRowJoinsTheOneBefore) {
  const Features features = random_features(93, 5);
  const std::vector<int> one_domain = cycle(93, 1);
  EXPECT_EQ(z_norm(features, one_domain, {}, ZNorm::minibatch92).values,
            z_norm(features, one_domain, {}, ZNorm::all).values);
  const Features more = random_features(94, 5);
  EXPECT_NE(z_norm(more, cycle(94, 1), {}, ZNorm::minibatch92).values,
            z_norm(more, cycle(94, 1), {}, ZNorm::all).values);
}

TEST(Kbet, IsOneForMixedAndZeroForSeparateBatches) {
  const Features mixed = random_features(600, 8);
  const Kbet good = kbet(mixed, cycle(600, 3));
  EXPECT_EQ(good.neighbours, 15);
  EXPECT_GT(good.score, 0.85);
  Features apart = random_features(600, 8);
  for (int i = 0; i < 600; ++i) apart.row(i)[static_cast<size_t>(i % 3)] += 50;
  EXPECT_EQ(kbet(apart, cycle(600, 3)).score, 0);
  EXPECT_EQ(kbet_neighbours(9854, 4), 49);
  EXPECT_EQ(kbet_neighbours(39342, 16), 196);
  EXPECT_EQ(kbet_neighbours(100, 2), 10);
  EXPECT_EQ(kbet_neighbours(1280, 10), 50);  // five a batch
  EXPECT_EQ(kbet_neighbours(100, 10), 25);   // but a quarter of the samples at most
}

TEST(Kbet, HasTheSameBitsForAnyNumberOfThreadsAndIgnoresGapsInNumbers) {
  const Features features = random_features(900, 8);
  std::vector<int> batches = cycle(900, 3);
  const int before = num_threads();
  set_num_threads(1);
  const Kbet one = kbet(features, batches);
  set_num_threads(3);
  for (int& batch : batches) batch = 5 + 2 * batch;
  const Kbet many = kbet(features, batches);
  set_num_threads(before);
  EXPECT_EQ(one.p, many.p);
  EXPECT_EQ(many.batches, 3);
}

TEST(Kbet, RefusesOneBatchAndTooFewSamples) {
  const Features features = random_features(40, 4);
  EXPECT_THAT(error_of([&] { kbet(features, cycle(40, 1)); }),
              HasSubstr("all 40 samples are of one batch"));
  const Features few = random_features(9, 4);
  EXPECT_THAT(error_of([&] { kbet(few, cycle(9, 2)); }), HasSubstr("10 of 9 samples"));
}

TEST(Grit, SaysWhatIsUndefinedAndWhy) {
  // Controls that are all alike up to scale: no spread of similarities.
  Features features = random_features(8, 6);
  for (int i = 1; i < 3; ++i)
    for (size_t c = 0; c < 6; ++c) features.row(i)[c] = 2.0f * features.row(0)[c];
  const std::vector<uint8_t> control = {1, 1, 1, 0, 0, 0, 0, 0};
  const std::vector<int> groups = {0, 0, 0, 1, 1, 2, 3, 3};
  const Grit none = grit(features, groups, control);
  EXPECT_TRUE(std::isnan(none.mean));
  EXPECT_EQ(none.constant_controls, 4);
  EXPECT_EQ(none.without_replicate, 1);
  EXPECT_EQ(none.profiles, 0);

  const Features varied = random_features(8, 6, 2);
  const Grit some = grit(varied, groups, control);
  EXPECT_EQ(some.groups, 2);
  EXPECT_TRUE(std::isnan(some.of_group[2]));
  EXPECT_TRUE(std::isnan(some.of_profile[0]));
  EXPECT_DOUBLE_EQ(some.mean, (some.of_group[1] + some.of_group[3]) / 2);
  // Two sites of a well are no replicates.
  const Grit wells = grit(varied, groups, control, std::vector{0, 1, 2, 3, 3, 4, 5, 6});
  EXPECT_EQ(wells.without_replicate, 3);
  EXPECT_EQ(wells.groups, 1);
  // Of two replicates, of two, the median is the mean.
  GritOptions median;
  median.median = true;
  EXPECT_DOUBLE_EQ(grit(varied, groups, control, {}, median).mean, some.mean);

  EXPECT_THAT(error_of([&] {
                grit(varied, groups, std::vector<uint8_t>{1, 0, 0, 0, 0, 0, 0, 0});
              }),
              HasSubstr("1 controls among 8 rows"));
  std::ranges::fill(features.row(5), 3.0f);
  EXPECT_THAT(error_of([&] { grit(features, groups, control); }), HasSubstr("row 5 is constant"));
}

TEST(Moa, NeverChoosesTheOwnCompoundAndFallsBackToTheWholePlate) {
  // Treatments 1 and 2 are two doses of compound 1; 3 has the same mechanism, 4 another.
  const Features features = rows_of(3, {0, 0, 0.1f, 0, 0.1f, 0,    // controls
                                        5, 0, 0, 5, 0.1f, 0,       // 1, 2
                                        5, 0.5f, 0.1f, 0, 0, 5});  // 3, 4
  const std::vector<int> plate = cycle(6, 1), treatment = {0, 0, 1, 2, 3, 4};
  const std::vector<int> compound = {0, 0, 1, 1, 3, 4}, moa = {-1, -1, 6, 6, 6, 8};
  const std::vector<uint8_t> control = {1, 1, 0, 0, 0, 0};
  const Moa other = one_nn_moa(features, {plate, treatment, compound, moa, control});
  EXPECT_THAT(other.nearest, ElementsAre(-1, 3, 3, ::testing::AnyOf(1, 2), ::testing::_));
  EXPECT_EQ(other.accuracy.images, 4);
  EXPECT_EQ(other.accuracy.correct, 3);
  EXPECT_EQ(other.controls, 2);
  const Moa same = one_nn_moa(features, {plate, treatment, {}, moa, control});
  EXPECT_THAT(same.nearest, ElementsAre(-1, 2, 1, ::testing::_, ::testing::_));

  const std::vector<uint8_t> lone = {1, 0, 0, 0, 0, 0};
  const Moa whole = one_nn_moa(features, {plate, treatment, compound, moa, lone});
  EXPECT_EQ(whole.whole_plates, 1);
  EXPECT_EQ(whole.controls, 0);
  EXPECT_THAT(error_of([&] {
                one_nn_moa(features, {plate, treatment, compound,
                                      std::vector{-1, -1, -1, -1, -1, -1}, control});
              }),
              HasSubstr("none of 5 treatments has a known mechanism"));
  EXPECT_THAT(error_of([&] {
                one_nn_moa(features, {plate, std::vector{0, 0, 1, 1, 3, 4}, compound,
                                      std::vector{-1, -1, 6, 7, 6, 8}, control});
              }),
              HasSubstr("treatment 1 has mechanism 6 and compound 1 in one row, 7 and 1 in row 3"));
}

TEST(LinearProbe, SeparatesClassesAndRepeatsItsBits) {
  Features features = random_features(240, 6);
  const std::vector<int> labels = cycle(240, 4);
  for (int i = 0; i < 240; ++i) features.row(i)[static_cast<size_t>(i % 4)] += 6;
  LinearProbeOptions options;
  options.epochs = 40;
  options.batch = 16;
  options.lr = 0.1;
  const int before = num_threads();
  set_num_threads(1);
  const LinearProbeResult one = linear_probe(features, labels, 4, features, labels, options);
  set_num_threads(3);
  const LinearProbeResult many = linear_probe(features, labels, 4, features, labels, options);
  set_num_threads(before);
  EXPECT_GT(one.accuracy.value(), 0.97);
  EXPECT_EQ(one.predicted, many.predicted);
  EXPECT_EQ(one.loss, many.loss);
  // Standardised first: the scale of the features does not matter.
  for (float& value : features.values) value = 1024 * value;
  EXPECT_EQ(linear_probe(features, labels, 4, features, labels, options).predicted, one.predicted);
  features.row(0)[0] = kNan;
  EXPECT_THAT(error_of([&] { linear_probe(features, labels, 4, features, labels, options); }),
              HasSubstr("column 0 holds a value that is not finite"));
}

TEST(PostProcessing, WhitensAndSaysTheRank) {
  Features features = random_features(50, 5);
  for (int i = 0; i < 50; ++i) features.row(i)[4] = features.row(i)[0];  // rank 4
  const Whitened white = whiten(features, std::vector<uint8_t>(50, 1), Whitening::zca);
  EXPECT_EQ(white.rank, 4);
  EXPECT_EQ(white.fitted, 50);
  for (const float value : white.features.values) EXPECT_LT(std::abs(value), 10);
  EXPECT_THAT(error_of([&] { whiten(features, std::vector<uint8_t>(50, 0)); }),
              HasSubstr("0 of 50 rows to fit"));
}

TEST(PostProcessing, TvnNamesTheDomainWithoutControls) {
  const Features features = random_features(20, 4);
  std::vector<uint8_t> control(20, 0);
  for (int i = 0; i < 8; i += 2) control[static_cast<size_t>(i)] = 1;  // all in domain 0
  EXPECT_THAT(error_of([&] { tvn(features, cycle(20, 2), control); }),
              HasSubstr("TVN: domain 1 has 0 controls among 10 rows"));
}

TEST(PostProcessing, CombatTakesABatchsShiftAndScaleOut) {
  Features features = random_features(200, 10);
  for (int i = 0; i < 200; ++i)
    for (size_t c = 0; c < 9; ++c)
      if (i % 2) features.row(i)[c] = 3 * features.row(i)[c] + static_cast<float>(c) + 2;
  for (int i = 0; i < 200; ++i) features.row(i)[9] = 7;  // does not vary
  const Combat result = combat(features, cycle(200, 2));
  EXPECT_EQ(result.constant_features, 1);
  for (size_t c = 0; c < 9; ++c) {
    double difference = 0;
    for (int i = 0; i < 200; ++i)
      difference += static_cast<double>(result.features.row(i)[c]) * (i % 2 ? 1 : -1);
    EXPECT_LT(std::abs(difference / 100), 0.2) << c;
  }
  EXPECT_EQ(result.features.row(3)[9], 7);
  EXPECT_THAT(error_of([&] { combat(features, cycle(200, 1)); }), HasSubstr("of one domain"));
  std::vector<int> lone = cycle(200, 2);
  lone[5] = 7;
  EXPECT_THAT(error_of([&] { combat(features, lone); }), HasSubstr("domain 7 has one row"));
}

}  // namespace
}  // namespace mono
