#include "train/report/run_charts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace mono::report {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Two epochs of so many steps, with the same loss in each.
RunRecord logged(int64_t epoch_steps, double loss) {
  RunRecord run;
  run.epoch_steps = epoch_steps;
  run.steps = run.total_steps = 2 * epoch_steps;
  for (int64_t step = 1; step <= run.steps; ++step) {
    run.metrics.step.push_back(static_cast<double>(step));
    run.metrics.epoch.push_back(static_cast<double>((step - 1) / epoch_steps + 1));
    run.metrics.columns["loss"].push_back(loss);
  }
  return run;
}

TEST(RunCharts, FoldsWhoseEpochsDifferHaveOneMean) {
  const RunRecord a = logged(427, 1), b = logged(428, 3);
  const CurveCharts curves = training_charts({{"method", {&a, &b}}});
  ASSERT_EQ(curves.charts.size(), 1u);
  const LineChart& chart = curves.charts[0];
  EXPECT_EQ(chart.x.label, "epoch");
  const Series& series = chart.series.at(0);
  EXPECT_GT(series.x.size(), 100u);
  EXPECT_LE(series.x.size(), 200u);
  EXPECT_THAT(series.y, Each(2));  // at every place of both
  EXPECT_NEAR(series.x.back(), 2, 0.02);
  EXPECT_LE(series.x.back(), 2);
  EXPECT_THAT(curves.points, HasSubstr("epochs"));
}

TEST(RunCharts, TheLastPointIsNotBeyondTheEnd) {
  RunRecord run = logged(101, 1);
  run.epoch_steps = 0;
  run.metrics.step.pop_back();  // 201 steps: the last bin of two has one
  run.metrics.epoch.pop_back();
  run.metrics.columns["loss"].pop_back();
  const CurveCharts curves = training_charts({{"", {&run}}});
  EXPECT_EQ(curves.points, "Each point is the mean of 2 steps.");
  EXPECT_EQ(curves.charts.at(0).series.at(0).x.back(), 201);
}

TEST(RunCharts, APointOfAShortRunIsAStep) {
  RunRecord run = logged(3, 1);
  run.epoch_steps = 0;  // unknown
  CurveCharts curves = training_charts({{"", {&run}}});
  EXPECT_THAT(curves.charts.at(0).series.at(0).x, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_EQ(curves.points, "Each point is a step.");
  run.epoch_steps = 3;
  curves = training_charts({{"", {&run}}});
  EXPECT_THAT(curves.charts.at(0).series.at(0).x,
              ElementsAre(1. / 3, 2. / 3, 1, 4. / 3, 5. / 3, 2));
}

}  // namespace
}  // namespace mono::report
