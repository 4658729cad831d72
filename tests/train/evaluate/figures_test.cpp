#include "train/evaluate/figures.h"

#include <gtest/gtest.h>

namespace mono {
namespace {

Dataset two_cell_types() {
  Dataset dataset;
  dataset.experiments = {"HUVEC-01", "HUVEC-02", "RPE-01"};
  dataset.cell_types = {"HUVEC", "RPE"};
  dataset.cell_type_of = {0, 0, 1};
  return dataset;
}

TEST(Figures, AreMeansOverImages) {
  // site, experiment, label, predicted, predicted_experiment, loss
  const std::vector<Classified> images = {
      {0, 0, 5, 5, 0, 0.5}, {1, 0, 5, 6, 1, 1.5}, {2, 1, 7, 7, 1, 0.25}, {3, 2, 8, 7, 0, 1.75}};
  const AccuracyFigures figures = figures_of(images, two_cell_types());
  EXPECT_EQ(figures.images, 4);
  EXPECT_DOUBLE_EQ(figures.overall.value(), 0.5);
  EXPECT_DOUBLE_EQ(figures.loss, 1.0);
  EXPECT_DOUBLE_EQ(figures.by_cell_type.at("HUVEC").value(), 2.0 / 3);
  EXPECT_DOUBLE_EQ(figures.by_cell_type.at("RPE").value(), 0.0);
  EXPECT_DOUBLE_EQ(figures.by_experiment.at("HUVEC-01").value(), 0.5);
  EXPECT_DOUBLE_EQ(figures.by_experiment.at("HUVEC-02").value(), 1.0);
  ASSERT_TRUE(figures.batch);
  EXPECT_DOUBLE_EQ(figures.batch->value(), 0.5);
}

TEST(Figures, LeaveUnlabelledImagesOutOfAccuracyButNotOutOfBatchAccuracy) {
  const AccuracyFigures figures =
      figures_of({{0, 0, -1, 5, 0, 0}, {1, 0, 5, 5, 1, 2.0}}, two_cell_types());
  EXPECT_EQ(figures.images, 2);
  EXPECT_EQ(figures.overall.images, 1);
  EXPECT_DOUBLE_EQ(figures.overall.value(), 1.0);
  EXPECT_DOUBLE_EQ(figures.loss, 2.0);
  EXPECT_EQ(figures.batch->images, 2);
}

TEST(Figures, HaveNoBatchAccuracyWithoutABatchHead) {
  EXPECT_FALSE(figures_of({{0, 0, 5, 5, -1, 0}}, two_cell_types()).batch);
}

}  // namespace
}  // namespace mono
