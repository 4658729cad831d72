// Running averages by PyTorch's rule, and merging that equals statistics of everything at once.
#include "nn/domain/norm_statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/philox.h"

namespace mono {
namespace {

struct NormStatisticsTest : testing::Test {
  NormStatisticsTest() {
    first = &layers.add(arena, "norm0", 2);
    second = &layers.add(arena, "norm1", 3);
    arena.allocate(DType::f64);
  }
  double mean(const NormStatistics& s, int row, int column) {
    return s.mean().data<double>()[row * layers.columns() + column];
  }
  double variance(const NormStatistics& s, int row, int column) {
    return s.variance().data<double>()[row * layers.columns() + column];
  }
  ParameterArena arena;
  NormLayers layers;
  const NormLayer *first, *second;
};

TEST_F(NormStatisticsTest, LayersOwnColumnsOfOneTable) {
  EXPECT_EQ(layers.columns(), 5);
  EXPECT_EQ(second->offset, 2);
  EXPECT_EQ(second->gamma->name, "norm1.weight");
  EXPECT_TRUE(second->beta->is_norm_or_bias);
  const NormStatistics fresh(layers, 2, DType::f64);
  for (int i = 0; i < 10; ++i) {
    EXPECT_EQ(fresh.mean().data<double>()[i], 0.0);
    EXPECT_EQ(fresh.variance().data<double>()[i], 1.0);
  }
  EXPECT_EQ(fresh.count(1, 1), 0);
  layers.set_eps(1e-3);
  EXPECT_EQ(first->eps, 1e-3);
}

// running += momentum (mean over the groups - running), every group's variance unbiased first:
// torch.nn.BatchNorm2d for one group.
TEST_F(NormStatisticsTest, RunningAveragesFollowPyTorchsRule) {
  NormStatistics groups(layers, 3, DType::f64), running(layers, 1, DType::f64);
  const double counts[] = {8, 20, 50};
  for (int row = 0; row < 3; ++row) {
    groups.set_count(row, 0, counts[row]);
    groups.set_count(row, 1, counts[row] / 2);
    for (int c = 0; c < 5; ++c) {
      groups.mean().data<double>()[row * 5 + c] = row + 0.25 * c;
      groups.variance().data<double>()[row * 5 + c] = 1 + row * c;
    }
  }
  for (int step = 0; step < 2; ++step) update_running(groups, 0.1, running);
  for (int c = 0; c < 5; ++c) {
    double m = 0, v = 1;
    for (int step = 0; step < 2; ++step) {
      double group_mean = 0, group_variance = 0;
      for (int row = 0; row < 3; ++row) {
        const double n = c < 2 ? counts[row] : counts[row] / 2;
        group_mean += (row + 0.25 * c) / 3;
        group_variance += (1 + row * c) * n / (n - 1) / 3;
      }
      m += 0.1 * (group_mean - m);
      v += 0.1 * (group_variance - v);
    }
    EXPECT_NEAR(mean(running, 0, c), m, 1e-14);
    EXPECT_NEAR(variance(running, 0, c), v, 1e-14);
  }
}

TEST_F(NormStatisticsTest, MergedGroupsOfAnySizeEqualAllValuesAtOnce) {
  Philox random(1, Purpose::test);
  const int sizes[] = {2, 17, 1, 5};
  std::vector<double> all;
  NormStatistics merged(layers, 2, DType::f64);
  for (const int size : sizes) {
    std::vector<double> values(static_cast<size_t>(size));
    for (double& v : values) v = 1e4 + random.normal();  // cancellation would show
    double m = 0, v = 0;
    for (const double x : values) m += x / size;
    for (const double x : values) v += (x - m) * (x - m) / size;
    NormStatistics group(layers, 1, DType::f64);
    for (const int layer : {0, 1}) group.set_count(0, layer, size);
    for (int c = 0; c < 5; ++c) {
      group.mean().data<double>()[c] = m + c;
      group.variance().data<double>()[c] = v * (c + 1);
    }
    merge_statistics(layers, group, 0, merged, 1);
    all.insert(all.end(), values.begin(), values.end());
  }
  double m = 0, v = 0;
  for (const double x : all) m += x / static_cast<double>(all.size());
  for (const double x : all) v += (x - m) * (x - m) / static_cast<double>(all.size());
  EXPECT_EQ(merged.count(1, 0), 25);
  for (int c = 0; c < 5; ++c) EXPECT_NEAR(mean(merged, 1, c), m + c, 1e-10);
  EXPECT_NEAR(variance(merged, 1, 0), v, 1e-10);
  EXPECT_EQ(merged.count(0, 0), 0) << "another row was touched";
  EXPECT_EQ(mean(merged, 0, 0), 0);
}

TEST_F(NormStatisticsTest, ASingleGroupIsTakenOverExactlyAndAnEmptyOneIgnored) {
  NormStatistics group(layers, 1, DType::f32), merged(layers, 1, DType::f64);
  group.mean().data<float>()[3] = 0.1f;
  group.variance().data<float>()[3] = 7.3f;
  merge_statistics(layers, group, 0, merged, 0);
  EXPECT_EQ(mean(merged, 0, 3), 0.0) << "a group without pixels counted";
  group.set_count(0, 1, 12);
  merge_statistics(layers, group, 0, merged, 0);
  EXPECT_EQ(mean(merged, 0, 3), static_cast<double>(0.1f));
  EXPECT_EQ(variance(merged, 0, 3), static_cast<double>(7.3f));
  EXPECT_EQ(merged.count(0, 1), 12);
  EXPECT_EQ(merged.count(0, 0), 0);
}

}  // namespace
}  // namespace mono
