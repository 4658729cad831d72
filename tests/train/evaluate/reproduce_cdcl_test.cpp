// The tables of CDCL: rows, folds and seeds, the grid, what stands at the head, and how they print.
#include "train/evaluate/reproduce_cdcl.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"

namespace mono {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

TEST(ReproduceCdcl, FloorsComeFirstAndFoldsAreSix) {
  ReproduceOptions options;
  options.table = "cdcl/table1";
  const std::vector<CdclMethod> methods = cdcl_methods(options);
  ASSERT_EQ(methods.size(), 8u);
  EXPECT_TRUE(methods[0].floor);
  EXPECT_EQ(methods[0].recipe, "controls/untrained");
  EXPECT_EQ(methods[1].recipe, "controls/intensity-histogram");
  EXPECT_EQ(methods.back().recipe, "cdcl/table1/cdcl");
  EXPECT_THAT(methods.back().folds, ElementsAre(1, 2, 3, 4, 5, 6));
  EXPECT_THAT(methods.back().seeds, ElementsAre(1));
  options.smoke = true;
  options.methods = {"cdcl"};
  const std::vector<CdclMethod> smoke = cdcl_methods(options);
  ASSERT_EQ(smoke.size(), 1u);
  EXPECT_EQ(smoke[0].recipe, "smoke/cdcl/table1/cdcl");
  EXPECT_THAT(smoke[0].folds, ElementsAre(0));
  EXPECT_THAT(smoke[0].seeds, ElementsAre(1, 2, 3));
  options.methods = {"cdlc"};
  EXPECT_THROW(cdcl_methods(options), Error);
}

TEST(ReproduceCdcl, AGridIsTheProductOfItsKeys) {
  const std::vector<GridPoint> points = grid_points({"optim.lr=1e-4,3e-4", "optim.clip=1,3"});
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[1].name, "optim.lr=1e-4,optim.clip=3");
  EXPECT_THAT(points[2].sets, ElementsAre("optim.lr=3e-4", "optim.clip=1"));
  EXPECT_EQ(grid_points({}).size(), 1u);
  for (const char* bad : {"optim.lr", "=1", "optim.lr="}) EXPECT_THROW(grid_points({bad}), Error);
}

CdclTable table() {
  CdclTable table;
  table.name = "cdcl/table1";
  table.folds = {1, 2};
  table.seeds = {1};
  CdclRow row;
  row.method = "cdcl";
  row.figures["z_norm_knn"] = {60, 64};
  row.paper["z_norm_knn"] = {63.1, 6.33};
  table.rows.push_back(row);
  return table;
}

TEST(ReproduceCdcl, RunsFromScratchNeverStandBesideThePaper) {
  const std::string text = cdcl_table_markdown(table());
  EXPECT_THAT(text, HasSubstr("**From scratch**"));
  EXPECT_THAT(text, HasSubstr("62.0 ± 2.8"));
  EXPECT_THAT(text, Not(HasSubstr("ours")));
  EXPECT_THAT(text, Not(HasSubstr("-1.1")));
}

TEST(ReproduceCdcl, TheDifferenceStandsWhereTheWholeScreenWasTrainedFromWeights) {
  CdclTable whole = table();
  whole.paper_scale = true;
  whole.start = "deit_small.safetensors";
  const std::string text = cdcl_table_markdown(whole);
  EXPECT_THAT(text, HasSubstr("starts from the weights deit_small.safetensors"));
  EXPECT_THAT(text, HasSubstr("63.1 ± 6.3"));
  EXPECT_THAT(text, HasSubstr("-1.1"));
  EXPECT_THAT(cdcl_table_json(whole).text(), HasSubstr("\"difference\": -1.1"));
}

}  // namespace
}  // namespace mono
