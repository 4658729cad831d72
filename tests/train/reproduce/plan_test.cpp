// From experiments to runs: what is shared, in which order, what is refused, what --dry-run prints.
#include "train/reproduce/plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/data/synth_design.h"
#include "train/run_directory.h"

namespace mono {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

// A table without images of four cell types: 16 experiments, 12 classes.
class ReproducePlan : public ::testing::Test {
 protected:
  ReproducePlan() {
    test::write_text(folder_ / "metadata.csv",
                     synth::metadata_csv(synth::design_screen(24, 16, 11, 1, 4)));
    options_.data = folder_.path();
    options_.smoke = true;
  }
  Plan plan(const std::string& name) {
    options_.table = name;
    return make_plan(options_);
  }
  // What a training of `run` on `data` leaves that a plan looks at.
  static void begin(const PlannedRun& run, const std::filesystem::path& folder,
                    const std::filesystem::path& data) {
    RunInfo info;
    info.data = data.string();
    RunDirectory(folder).start(run.recipe, info);
  }
  static void finish(const std::filesystem::path& folder) {
    std::filesystem::create_directories(folder / "ckpt" / "step_00000004");
    test::write_text(folder / "ckpt/step_00000004/state.json", R"({"step": 4, "total_steps": 4})");
  }
  std::string refusal_of(const std::string& name) {
    try {
      plan(name);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "not refused";
  }
  static std::vector<std::string> runs_of(const Plan& plan) {
    std::vector<std::string> names;
    for (const PlannedRun& run : plan.runs) names.push_back(run.recipe_name + ", " + run.place());
    return names;
  }

  const test::TempDir folder_;
  ReproduceOptions options_;
};

TEST_F(ReproducePlan, Table1HasFourMethodsOnTwoSplits) {
  options_.smoke = false;
  const Plan all = plan("rxrx1/table1");
  EXPECT_EQ(all.runs.size(), 40u);
  ASSERT_EQ(all.experiments.size(), 1u);
  EXPECT_EQ(all.experiments[0].rows.size(), 5u);  // and the control, of the baseline's runs
  EXPECT_EQ(all.runs[0].place(), "separated split, seed 1");
  EXPECT_EQ(all.runs[0].training, 16 * 192 - all.runs[0].test);
  options_.smoke = true;
  options_.methods = {"adabn", "baseline"};
  options_.seeds = {4};
  EXPECT_THAT(runs_of(plan("rxrx1/table1")),
              ElementsAre("smoke/rxrx1/table1/baseline, separated split, seed 4",
                          "smoke/rxrx1/table1/baseline, stratified split, seed 4",
                          "smoke/rxrx1/table1/adabn, separated split, seed 4",
                          "smoke/rxrx1/table1/adabn, stratified split, seed 4"));
}

// Table 3 adds nothing to Table 1, nor do the aliases of Tables 2, 5 and 6 and Figure 10.
TEST_F(ReproducePlan, WhatIsSharedIsTrainedOnce) {
  const Plan all = plan("rxrx1");
  std::set<std::string> hashes, folders;
  for (const PlannedRun& run : all.runs) {
    EXPECT_TRUE(hashes.insert(run.hash).second) << run.recipe_name;
    EXPECT_TRUE(folders.insert(run.folder.string()).second) << run.folder;
    EXPECT_THAT(run.recipe_name, Not(HasSubstr("table5/self")));
    EXPECT_THAT(run.recipe_name, Not(HasSubstr("fig10")));
  }
  // 24 of Table 1, 10 of Table 2, 16 of Table 4, 5 + 5 of Tables 5 and 6, 7 of Figure 9.
  EXPECT_EQ(all.runs.size(), 67u);
  // The curve of Figure 10 is recorded by Table 1's runs.
  EXPECT_EQ(all.runs[0].recipe.test_curve.every_epochs, 2);
  EXPECT_EQ(all.runs[1].recipe.test_curve.every_epochs, 0);  // stratified
  for (const PlannedRun& run : all.runs) EXPECT_EQ(run.obstacle, "") << run.recipe_name;
}

TEST_F(ReproducePlan, FineTunedRowsComeAfterWhatTheyStartFrom) {
  const Plan table = plan("cdcl/table2a");
  for (size_t i = 0; i < table.runs.size(); ++i) {
    const PlannedRun& run = table.runs[i];
    EXPECT_THAT(run.obstacle, HasSubstr("needs a screen of CPG0004"));
    if (!run.recipe_name.ends_with("cdcl-finetuned")) continue;
    ASSERT_TRUE(run.after);
    EXPECT_LT(*run.after, i);
    EXPECT_EQ(table.runs[*run.after].recipe_name, "smoke/cdcl/table2a/cdcl");
    EXPECT_EQ(run.recipe.model.init_from, table.runs[*run.after].folder.string());
  }
}

TEST_F(ReproducePlan, FloorsComeFirstAndFoldsAreSix) {
  options_.smoke = false;
  const Plan table = plan("cdcl/table1");
  const PlannedExperiment& planned = table.experiments[0];
  ASSERT_EQ(planned.rows.size(), 9u);
  EXPECT_EQ(planned.rows[0].row->recipe, "controls/untrained");
  EXPECT_EQ(planned.rows.back().row->recipe, "cdcl/table1/cdcl");
  EXPECT_EQ(planned.rows.back().replicates[0].size(), 6u);
  EXPECT_EQ(planned.rows.back().replicates[0][5].fold, 6);
  options_.smoke = true;
  options_.methods = {"cdcl"};
  const Plan smoke = plan("cdcl/table1");
  ASSERT_EQ(smoke.runs.size(), 3u);
  EXPECT_EQ(smoke.runs[2].place(), "separated split, seed 3");
}

// Floors start from nothing, whatever --weights says of the others.
TEST_F(ReproducePlan, FloorsStartFromNothing) {
  options_.sets = {"model.weights='deit_small.safetensors'"};
  options_.methods = {"untrained", "cdcl"};
  options_.seeds = {1};
  const Plan table = plan("cdcl/table1");
  ASSERT_EQ(table.runs.size(), 2u);
  EXPECT_EQ(table.runs[0].recipe.model.weights, "");
  EXPECT_EQ(table.runs[0].recipe.train.epochs, 0);
  EXPECT_EQ(table.runs[1].recipe.model.weights, "deit_small.safetensors");
}

TEST_F(ReproducePlan, AGridIsTheProductOfItsKeys) {
  const std::vector<GridPoint> points = grid_points({"optim.lr=1e-4,3e-4", "optim.clip=1,3"});
  ASSERT_EQ(points.size(), 4u);
  EXPECT_EQ(points[1].name, "optim.lr=1e-4,optim.clip=3");
  EXPECT_THAT(points[2].sets, ElementsAre("optim.lr=3e-4", "optim.clip=1"));
  EXPECT_EQ(grid_points({}).size(), 1u);
  for (const char* bad : {"optim.lr", "=1", "optim.lr="}) EXPECT_THROW(grid_points({bad}), Error);
  options_.grid = {"optim.lr=1e-4,3e-4"};
  options_.methods = {"untrained", "cdcl"};
  options_.seeds = {1};
  const Plan table = plan("cdcl/table1");
  EXPECT_EQ(table.runs.size(), 3u);  // a floor has nothing to search
  EXPECT_TRUE(table.experiments[0].scale.changed);
}

// A row takes what is something to it of a grid; what is nothing to any is refused, and so is a
// grid on rows that have nothing to choose by.
TEST_F(ReproducePlan, AGridIsOfWhatARowHas) {
  options_.grid = {"ssl.barlow_weight=0.5,0.6", "optim.lr=1e-4,3e-4"};
  options_.methods = {"supervised", "cdcl"};
  options_.seeds = {1};
  const Plan table = plan("cdcl/table1");
  EXPECT_EQ(table.experiments[0].rows[0].points.size(), 2u);
  EXPECT_EQ(table.experiments[0].rows[1].points.size(), 4u);
  EXPECT_EQ(table.runs.size(), 6u);
  options_.methods = {"supervised"};
  EXPECT_THAT(refusal_of("cdcl/table1"), HasSubstr("ssl.barlow_weight does nothing"));
  options_.grid = {"optim.lr=0.05,0.1"};
  options_.methods = {"adabn"};
  EXPECT_THAT(refusal_of("rxrx1/fig10"), HasSubstr("fig10/adabn is not validated"));
  options_.sets = {"data.validation_experiments=1", "validation.every_epochs=1"};
  for (const PlannedRun& run : plan("rxrx1/fig10").runs)
    EXPECT_EQ(run.recipe.test_curve.every_epochs, 0);  // no point is chosen by test images
}

// What is outside the hash changes no training; this changes figures.
TEST_F(ReproducePlan, OtherTestStatisticsAreAChange) {
  options_.methods = {"adabn"};
  EXPECT_FALSE(plan("rxrx1/table1").experiments[0].scale.changed);
  options_.sets = {"domain.test_statistics=running"};
  EXPECT_TRUE(plan("rxrx1/table1").experiments[0].scale.changed);
}

// A run of Table 1 that was finished without a test curve is not changed: Figure 10's is trained
// beside it, and each is found again.
TEST_F(ReproducePlan, AFinishedRunWithoutItsCurveDoesNotDo) {
  options_.out = folder_ / "out";
  options_.methods = {"adabn"};
  options_.seeds = {1};
  const PlannedRun without = plan("rxrx1/table1").runs[0];
  begin(without, without.folder, folder_.path());
  finish(without.folder);
  const PlannedRun with = plan("rxrx1/fig10").runs[0];
  EXPECT_EQ(with.hash, without.hash);
  EXPECT_NE(with.folder, without.folder);
  EXPECT_FALSE(with.finished);
  begin(with, with.folder, folder_.path());
  EXPECT_EQ(plan("rxrx1/fig10").runs[0].folder, with.folder);
  const PlannedRun again = plan("rxrx1/table1").runs[0];
  EXPECT_TRUE(again.finished);
  EXPECT_EQ(again.folder, without.folder);
}

TEST_F(ReproducePlan, OfEqualRunsTheFinishedOneIsTaken) {
  options_.out = folder_ / "out";
  options_.methods = {"adabn"};
  const PlannedRun run = plan("rxrx1/table1").runs[0];
  for (const char* name : {"1", "3", "2", "4"})
    begin(run, options_.out / "runs" / name, folder_.path());
  EXPECT_EQ(plan("rxrx1/table1").runs[0].folder.filename(), "1");
  finish(options_.out / "runs" / "3");
  EXPECT_EQ(plan("rxrx1/table1").runs[0].folder.filename(), "3");
}

// Paths are compared as places; a quote in one is no end of a text.
TEST_F(ReproducePlan, PathsAreSpelledAsOneLikes) {
  const std::filesystem::path out = std::filesystem::canonical(folder_.path()) / "it's out";
  options_.out = out / "." / "";
  options_.methods = {"adabn"};
  const PlannedRun run = plan("rxrx1/table1").runs[0];
  EXPECT_EQ(run.folder, out / "runs" / run.recipe_name / "separated/seed-1");
  begin(run, run.folder, folder_.path() / "");
  finish(run.folder);
  options_.out = out;
  EXPECT_TRUE(plan("rxrx1/table1").runs[0].finished);
  options_.methods = {"cdcl-finetuned"};
  const Plan table = plan("cdcl/table2a");
  EXPECT_EQ(table.runs.back().recipe.model.init_from, table.runs[0].folder.string());
}

// A run that was killed as it began blocks nothing; nor do runs of a screen that is not given.
TEST_F(ReproducePlan, WhatIsNoRunYetAndRunsOfOtherScreens) {
  options_.out = folder_ / "out";
  options_.methods = {"cdcl"};
  const PlannedRun run = plan("cdcl/table2a").runs[0];
  begin(run, run.folder, folder_ / "lincs");
  finish(run.folder);
  std::filesystem::create_directories(options_.out / "runs/begun");
  test::write_text(options_.out / "runs/begun/run.json", "{}");
  EXPECT_FALSE(plan("cdcl/table2a").runs[0].finished);
}

TEST_F(ReproducePlan, UnknownRowsAreNamed) {
  options_.methods = {"adbn"};
  try {
    plan("rxrx1/table1");
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("did you mean 'adabn'?"));
  }
}

TEST_F(ReproducePlan, TheDryRunSaysWhatItTakesAndThatThereIsNoTime) {
  const std::string text = plan_text(plan("rxrx1"), options_, {});
  EXPECT_THAT(text, AllOf(HasSubstr("67 runs ("), HasSubstr("before sharing"),
                          HasSubstr("0 of them finished"), HasSubstr("FLOP of training"),
                          HasSubstr("No time is given"), HasSubstr("Nothing was trained")));
  EXPECT_THAT(text, HasSubstr("56 rows are not part of a rehearsal: 4, 14, 24"));
  EXPECT_THAT(plan_text(plan("cdcl/table5"), options_, {}), HasSubstr(" 8.37 ± 0.38 "));
}

// What needs a cell type that the screen lacks is named, not skipped.
TEST_F(ReproducePlan, CellTypesThatAreNotThereAreObstacles) {
  test::write_text(folder_ / "metadata.csv",
                   synth::metadata_csv(synth::design_screen(24, 10, 11, 1, 2)));
  const Plan table = plan("rxrx1/table4");
  EXPECT_EQ(std::ranges::count_if(table.runs,
                                  [](const PlannedRun& run) { return !run.obstacle.empty(); }),
            8);
  EXPECT_THAT(plan_text(table, options_, {}), HasSubstr("runs cannot be made: "));
}

// The contract's figures, on the true layout of the screen.
TEST(ReproducePlanOfTheWholeScreen, HasTheTrueSizesAndRefusesWhatNeedsUnknownClasses) {
  const std::filesystem::path table = test::real_data("metadata_reconstructed.csv");
  if (table.empty()) GTEST_SKIP() << "../shared/data/rxrx1/metadata_reconstructed.csv is not there";
  const test::TempDir folder;
  std::filesystem::create_symlink(table, folder / "metadata.csv");
  ReproduceOptions options;
  options.data = folder.path();
  const Plan plan = make_plan(options);
  ASSERT_EQ(plan.runs.size(), 40u);
  for (const PlannedRun& run : plan.runs) {
    if (run.recipe.data.split != SplitBy::separated) continue;
    EXPECT_EQ(run.training, 81'224);
    EXPECT_EQ(run.test, 44'286);
    EXPECT_EQ(run.unlabelled, 22'088);
    EXPECT_EQ(run.steps_per_epoch, run.recipe.domain.adabn ? 156 : 158);
    EXPECT_EQ(run.steps(), run.recipe.domain.adabn ? 15'600 : 15'800);
    EXPECT_THAT(run.obstacle, HasSubstr("22088 of 44286 test images have no class"));
  }
  const std::string text = plan_text(plan, options, {});
  for (const char* words : {"81,224", "44,286", " 158 ", " 15,800 ", " 156 ", " 15,600 ", "40 runs",
                            "22,088", "are refused", "rxrx1/table1: batch generalisation"})
    EXPECT_THAT(text, HasSubstr(words));
}

// DenseNet-161 at 512 x 512 takes some 80 GFLOP forward (40 GMAC; specs of RxRx1, A4), and has 31
// million parameters; DeiT-S at 224 some 9.2 GFLOP.
TEST(ReproduceCost, IsThatOfThePapersNetworks) {
  Dataset screen;
  screen.num_classes = 1139;
  screen.experiments.resize(51);
  const Cost dense = cost_of(load_recipe("rxrx1/table1/baseline"), screen, 512);
  EXPECT_NEAR(static_cast<double>(dense.parameters), 31.0e6, 0.1e6);
  EXPECT_NEAR(dense.flops_per_image, 80e9, 5e9);
  EXPECT_DOUBLE_EQ(dense.flops_per_step, 512 * 3 * dense.flops_per_image);
  // No channel named: all of the screen.
  EXPECT_EQ(
      cost_of(load_recipe("rxrx1/table1/baseline", {"data.channels=[]"}), screen, 512).parameters,
      dense.parameters);
  const Cost deit = cost_of(load_recipe("cdcl/table1/supervised"), screen, 512);
  EXPECT_NEAR(deit.flops_per_image, 9.2e9, 0.3e9);
  // ResNet-50: 4.1 GMAC at 224 with three channels (He et al. 2016), somewhat more with six.
  const Cost resnet =
      cost_of(load_recipe("rxrx1/table2/resnet50-baseline", {"data.crop=224"}), screen, 512);
  EXPECT_NEAR(resnet.flops_per_image, 8.4e9, 0.4e9);
}

}  // namespace
}  // namespace mono
