// Which runs are one method, which column decides, and what may stand beside the paper.
#include "train/report/comparison.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace mono::report {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

RunRecord finished(const std::string& recipe, const std::vector<std::string>& sets = {}) {
  RunRecord run;
  run.state = RunState::finished;
  run.recipe = load_recipe(recipe, sets);
  return run;
}

EvaluationRecord evaluation(const std::string& split, const std::string& statistics,
                            const std::string& column, double value) {
  EvaluationRecord out;
  out.split = split;
  out.statistics = statistics;
  out.figures[column] = value;
  return out;
}

TEST(Comparisons, OfThePapersRunsNothingIsMissing) {
  EXPECT_EQ(paper_obstacle(finished("rxrx1/table1/adabn")), "");
  EXPECT_EQ(paper_obstacle(finished("rxrx1/table1/adabn", {"seed=3", "data.split=stratified"})),
            "");
  // Where the ImageNet weights lie is nobody's business, but they must be there.
  EXPECT_EQ(
      paper_obstacle(finished("cdcl/table1/cdcl", {"model.weights=/a.safetensors", "data.fold=4"})),
      "");
  EXPECT_EQ(paper_obstacle(finished("cdcl/table1/cdcl")), "from scratch");

  EXPECT_EQ(paper_obstacle(finished("rxrx1/table1/adabn", {"optim.lr=0.5"})), "changed recipe");
  EXPECT_EQ(paper_obstacle(finished("rxrx1/table1/adabn", {"model.weights=/a.safetensors"})),
            "changed recipe");
  EXPECT_EQ(paper_obstacle(finished("rxrx1/table1/adabn", {"domain.test_statistics=running"})),
            "changed recipe");
  RunRecord run = finished("rxrx1/table1/adabn");
  run.state = RunState::stopped;
  EXPECT_EQ(paper_obstacle(run), "unfinished run");
  run.state = RunState::finished;
  run.evaluations = {evaluation("separated", "experiment", "separated", 80)};
  EXPECT_EQ(paper_obstacle(run), "");
  run.evaluations[0].up_to_date = false;
  EXPECT_EQ(paper_obstacle(run), "outdated evaluation");
  run = finished("cdcl/table1/cdcl", {"model.from_scratch=true"});
  run.label = "from scratch";
  EXPECT_EQ(paper_obstacle(run), "from scratch");
}

TEST(Comparisons, APaperOfFoldsIsAllOfThem) {
  std::vector<RunRecord> runs;
  for (int fold = 1; fold <= 5; ++fold)
    runs.push_back(finished("cdcl/table1/cdcl", {"data.fold=" + std::to_string(fold)}));
  std::vector<const RunRecord*> list;
  for (const RunRecord& run : runs) list.push_back(&run);
  EXPECT_TRUE(has_all_folds(list, 5));
  EXPECT_FALSE(has_all_folds(list, 6));
  list.push_back(&runs[0]);  // once more
  EXPECT_FALSE(has_all_folds(list, 5));
  const RunRecord without = finished("rxrx1/table1/adabn");
  EXPECT_TRUE(has_all_folds({&without}, 6));
}

TEST(Comparisons, TheColumnOfMostMethodsDecides) {
  std::vector<RunRecord> runs = {finished("smoke/cdcl/table1/cdcl"),
                                 finished("smoke/cdcl/table1/ssl-byol"),
                                 finished("smoke/cdcl/adabn-supervised")};
  runs[0].evaluations = {evaluation("", "", "z_norm_knn", 60)};
  runs[1].evaluations = {evaluation("", "", "z_norm_knn", 40)};
  runs[2].evaluations = {evaluation("", "", "z_norm_knn", 50),
                         evaluation("separated", "experiment", "separated", 90)};
  const Comparison comparison = compare(runs);
  EXPECT_EQ(comparison.headline, "z_norm_knn");
  ASSERT_NE(comparison.best(), nullptr);
  EXPECT_EQ(comparison.best()->title, "cdcl");
}

TEST(Comparisons, OwnStatisticsAreThoseThatTheRecipeAsksFor) {
  std::vector<RunRecord> runs = {
      finished("smoke/rxrx1/table1/baseline"),
      finished("smoke/rxrx1/table1/baseline", {"domain.test_statistics=experiment"})};
  runs[0].evaluations = {evaluation("separated", "running", "separated", 50)};
  runs[1].evaluations = {evaluation("separated", "experiment", "separated", 60)};
  const Comparison comparison = compare(runs);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_FALSE(comparison.rows[1].control);
  EXPECT_EQ(comparison.rows[1].title, "baseline (experiment statistics)");
  EXPECT_EQ(comparison.best(), &comparison.rows[1]);
}

TEST(Comparisons, RunsOfTwoScreensAreNotOneMean) {
  std::vector<RunRecord> runs;
  for (const char* screen : {"/gone/a", "/gone/b"}) {
    runs.push_back(finished("smoke/rxrx1/table1/baseline"));
    runs.back().info.emplace().data = screen;
    runs.back().evaluations = {evaluation("separated", "running", "separated", 50)};
  }
  const Comparison comparison = compare(runs);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[1].title, "baseline (on /gone/b)");
  EXPECT_EQ(comparison.our_name(), "data unknown, smoke");
}

TEST(Comparisons, TitlesNameOnlyWhatMethodsDifferIn) {
  const std::string recipe = "cdcl/table1/cdcl";
  const std::vector<RunRecord> runs = {finished(recipe, {"data.fold=1"}),
                                       finished(recipe, {"data.fold=2", "seed=2", "optim.lr=0.5"})};
  const Comparison comparison = compare(runs);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[1].title, "cdcl (optim.lr: 0.5)");
  EXPECT_EQ(comparison.our_name(), "data unknown");  // no run says which screen it was
}

TEST(Comparisons, NIsTheRunsBehindAFigure) {
  std::vector<RunRecord> runs;
  for (int seed = 1; seed <= 3; ++seed)
    for (const char* split : {"separated", "stratified"}) {
      if (seed == 3 && std::string(split) == "stratified") continue;
      runs.push_back(finished("smoke/rxrx1/table1/baseline", {"seed=" + std::to_string(seed),
                                                              std::string("data.split=") + split}));
      runs.back().evaluations = {evaluation(split, "running", split, 50)};
    }
  const Table table = comparison_table(compare(runs));
  ASSERT_EQ(table.rows.size(), 1u);
  EXPECT_EQ(table.columns[1].title, "n");
  EXPECT_EQ(table.rows[0][1].text, "3");
  EXPECT_EQ(table.rows[0][2].text, "50.0 ± 0.0");
  EXPECT_EQ(table.rows[0][3].text, "50.0 ± 0.0 (n = 2)");
}

TEST(Comparisons, FromScratchIsSaidOfTheMethod) {
  std::vector<RunRecord> runs = {finished("smoke/rxrx1/table1/baseline"),
                                 finished("smoke/rxrx1/table1/baseline", {"seed=2"})};
  runs[1].label = "from scratch";
  const Comparison comparison = compare(runs);
  ASSERT_EQ(comparison.rows.size(), 2u);
  EXPECT_EQ(comparison.rows[1].title, "baseline (from scratch)");
}

TEST(Comparisons, ImagesOfTrainingAreCalledThat) {
  std::vector<RunRecord> runs = {finished("smoke/rxrx1/table1/baseline")};
  runs[0].evaluations = {evaluation("separated", "running", "training_images", 99)};
  const Comparison comparison = compare(runs);
  EXPECT_EQ(comparison.headline, "training_images");
  EXPECT_THAT(comparison.lead().at(0), HasSubstr("99.0 % of the images that it was trained on"));
  EXPECT_THAT(comparison.lead().at(0), Not(HasSubstr("test")));
}

}  // namespace
}  // namespace mono::report
