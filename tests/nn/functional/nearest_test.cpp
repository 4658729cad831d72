// Nearest neighbours against a plain f64 search over all pairs; ties, groups, threads, bad input.
#include "nn/functional/nearest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Features random_features(int rows, int width, uint64_t seed) {
  Features features(rows, width);
  Philox draw(seed, Purpose::test);
  for (float& value : features.values) value = static_cast<float>(draw.normal());
  return features;
}

double cosine(std::span<const float> a, std::span<const float> b) {
  double product = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    product += static_cast<double>(a[i]) * static_cast<double>(b[i]);
    aa += static_cast<double>(a[i]) * static_cast<double>(a[i]);
    bb += static_cast<double>(b[i]) * static_cast<double>(b[i]);
  }
  return product / std::max(std::sqrt(aa), 1e-12) / std::max(std::sqrt(bb), 1e-12);
}

TEST(Nearest, EqualsASearchOverAllPairs) {
  for (const auto& [queries, rows, width, k] : {std::array{1, 1, 1, 1},
                                                {3, 97, 7, 10},
                                                {257, 96, 33, 5},
                                                {300, 500, 64, 40},
                                                {31, 193, 384, 193}}) {
    const Features q = random_features(queries, width, 1), bank = random_features(rows, width, 2);
    const Neighbours found = nearest(q, bank, k);
    ASSERT_EQ(found.index.size(), static_cast<size_t>(queries * k));
    for (int i = 0; i < queries; ++i) {
      std::vector<double> s(static_cast<size_t>(rows));
      for (int b = 0; b < rows; ++b) s[static_cast<size_t>(b)] = cosine(q.row(i), bank.row(b));
      std::vector<double> sorted = s;
      std::ranges::sort(sorted, std::greater<>());
      std::vector<int> seen;
      for (int n = 0; n < k; ++n) {
        const size_t at = static_cast<size_t>(i * k + n);
        // The n-th best value (not its index: two may be closer than f32 tells apart).
        EXPECT_NEAR(s[static_cast<size_t>(found.index[at])], sorted[static_cast<size_t>(n)], 1e-6);
        EXPECT_NEAR(found.similarity[at], sorted[static_cast<size_t>(n)], 1e-6);
        seen.push_back(found.index[at]);
      }
      std::ranges::sort(seen);
      EXPECT_EQ(std::ranges::adjacent_find(seen), seen.end()) << "a row came twice";
    }
  }
}

TEST(Nearest, OfEqualRowsTheLowerIndexComesFirst) {
  // Copies of one row stand at many places of tiles and panels: equal bits wherever they are.
  const Features one = random_features(1, 37, 3);
  Features bank = random_features(400, 37, 4);
  const std::vector<int> places = {5, 17, 94, 95, 96, 97, 191, 192, 288, 399};
  for (const int place : places) std::ranges::copy(one.row(0), bank.row(place).begin());
  const Neighbours found = nearest(one, bank, 10);
  EXPECT_EQ(found.index, places);
  for (const float s : found.similarity) EXPECT_EQ(s, found.similarity[0]);
}

TEST(Nearest, AnyNumberOfThreadsGivesTheSameBits) {
  const Features features = random_features(1100, 48, 5);
  const int before = num_threads();
  set_num_threads(1);
  const Neighbours one = nearest_others(features, 12);
  for (const int threads : {2, 3, 8}) {
    set_num_threads(threads);
    const Neighbours many = nearest_others(features, 12);
    EXPECT_EQ(many.index, one.index);
    EXPECT_EQ(many.similarity, one.similarity);
  }
  set_num_threads(before);
}

TEST(Nearest, LeavesGroupsOut) {
  const Features features = random_features(200, 16, 6);
  const Neighbours others = nearest_others(features, 199);
  for (int i = 0; i < 200; ++i) {
    std::vector<int> row(others.index.begin() + i * 199, others.index.begin() + (i + 1) * 199);
    std::ranges::sort(row);
    std::vector<int> expected(200);
    std::iota(expected.begin(), expected.end(), 0);
    expected.erase(expected.begin() + i);
    EXPECT_EQ(row, expected);
  }
  std::vector<int> wells(200);
  for (int i = 0; i < 200; ++i) wells[static_cast<size_t>(i)] = i / 2;
  const Neighbours far = nearest(features, features, 3, wells, wells);
  for (int i = 0; i < 600; ++i) EXPECT_NE(far.index[static_cast<size_t>(i)] / 2, i / 3 / 2);
}

TEST(Nearest, ARowOfZerosIsZeroToEverything) {
  Features bank = random_features(6, 4, 7);
  std::ranges::fill(bank.row(2), 0.0f);
  Features query(1, 4);
  const Neighbours found = nearest(query, bank, 6);
  EXPECT_THAT(found.index, ElementsAre(0, 1, 2, 3, 4, 5));
  for (const float s : found.similarity) EXPECT_EQ(s, 0.0f);
  for (const float value : l2_normalised(query).values) EXPECT_EQ(value, 0.0f);
}

std::string error_of(const std::function<void()>& f) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    return error.what();
  }
  ADD_FAILURE() << "no error";
  return "";
}

TEST(Nearest, RefusesWhatItCannotAnswer) {
  Features features = random_features(9, 4, 8);
  EXPECT_THAT(error_of([&] { nearest(features, features, 10); }),
              HasSubstr("10 neighbours are asked for, but the bank has 9 rows"));
  EXPECT_THAT(error_of([&] { nearest_others(features, 9); }),
              HasSubstr("query row 0 has 8 rows of other groups"));
  features.row(7)[2] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(error_of([&] { nearest(features, features, 1); }),
              HasSubstr("row 7 holds a value that is not finite"));
  EXPECT_THAT(error_of([&] { l2_normalised(features); }), HasSubstr("row 7"));
}

// Every value by f64 distances.
void expect_equal_to_all_pairs(const Features& x, int k) {
  const NearestByDistance found = nearest_by_distance(x, k);
  for (int i = 0; i < x.rows; ++i) {
    std::vector<std::pair<double, int>> all;
    for (int j = 0; j < x.rows; ++j) {
      double sum = 0;
      for (size_t c = 0; c < static_cast<size_t>(x.width); ++c) {
        const double difference =
            static_cast<double>(x.row(i)[c]) - static_cast<double>(x.row(j)[c]);
        sum += difference * difference;
      }
      if (j != i) all.emplace_back(std::sqrt(sum), j);
    }
    std::ranges::sort(all);
    for (int n = 0; n < k; ++n) {
      const size_t at = static_cast<size_t>(i * k + n);
      EXPECT_EQ(found.index[at], all[static_cast<size_t>(n)].second) << i << ' ' << n;
      EXPECT_EQ(found.distance[at], all[static_cast<size_t>(n)].first);
    }
  }
}

// Far from the origin, where f32 products alone would lose them.
TEST(NearestByDistance, EqualsASearchOverAllPairs) {
  for (const auto& [rows, width, k] : {std::array{2, 1, 1}, {97, 7, 10}, {300, 64, 40}}) {
    Features x = random_features(rows, width, 4);
    for (float& value : x.values) value += 1000;
    std::ranges::copy(x.row(rows - 1), x.row(0).begin());  // a copy, at distance 0
    expect_equal_to_all_pairs(x, k);
  }
  EXPECT_THROW(nearest_by_distance(random_features(4, 2, 5), 4), Error);
}

// No mean is near these rows: in f32 all rows of a cluster have one product.
TEST(NearestByDistance, IsExactInClustersThatLieFarApart) {
  Features x = random_features(240, 8, 4);
  for (int i = 0; i < x.rows; ++i) x.row(i)[static_cast<size_t>(i % 3)] += 30000;
  expect_equal_to_all_pairs(x, 5);
}

// More rows at one distance than are ranked: the lower indices are the neighbours.
TEST(NearestByDistance, OfManyRowsAtOneDistanceTakesTheFirst) {
  Features x(102,
             50);  // the unit vectors with both signs, the origin, and a row that moves the mean
  for (int i = 0; i < 100; ++i) x.row(i)[static_cast<size_t>(i / 2)] = i % 2 ? 1 : -1;
  for (float& value : x.row(101)) value = 0.7f;
  expect_equal_to_all_pairs(x, 5);
}

}  // namespace
}  // namespace mono
