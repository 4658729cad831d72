// What `evaluate RUN` says of a run of views: every column or why it is missing, the same as
// `evaluate --embeddings` of the features that it leaves; that nothing is forwarded twice; runs
// that start from another run; groups on CDCL's parts of a screen.
#include "train/evaluate/views_evaluation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "tests/train/tiny_screen.h"
#include "train/commands.h"
#include "train/data/csv.h"
#include "train/data/synth.h"
#include "train/run_directory.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using testing::AllOf;
using testing::HasSubstr;
using testing::Not;

int train(const std::string& recipe, const fs::path& data, const fs::path& out,
          const std::vector<std::string>& sets) {
  TrainOptions options;
  options.recipe = recipe;
  options.sets = sets;
  options.data = data;
  options.out = out;
  options.compute.device = "cpu";
  testing::internal::CaptureStdout();
  try {
    const int code = run_train(options);
    testing::internal::GetCapturedStdout();
    return code;
  } catch (...) {
    testing::internal::GetCapturedStdout();
    throw;
  }
}

std::string evaluated(const fs::path& run) {
  EvaluateOptions options;
  options.run = run;
  options.compute.device = "cpu";
  testing::internal::CaptureStdout();
  try {
    EXPECT_EQ(run_evaluate(options), 0);
  } catch (...) {
    testing::internal::GetCapturedStdout();
    throw;
  }
  return testing::internal::GetCapturedStdout();
}

JsonView views_json(const fs::path& run) {
  return read_json_file((run / "evaluation" / "views.json").string());
}

// Two plate maps of five plates, six compounds of two mechanisms and two wells of DMSO each.
class ViewsOfPlates : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new test::TempDir;
    SynthOptions options;
    options.out = *folder_ / "screen";
    options.layout = "cpg0004";
    options.wells = 8;
    options.experiments = 10;
    options.sirnas = 12;
    options.image_size = 32;
    synthesize_screen(options);
    ASSERT_EQ(train("smoke/cdcl/table2a/supervised", screen(), *folder_ / "run", sets()), 0);
  }
  static void TearDownTestSuite() { delete folder_; }
  static fs::path screen() { return *folder_ / "screen"; }
  static fs::path run() { return *folder_ / "run"; }
  static std::vector<std::string> sets(const std::vector<std::string>& more = {}) {
    std::vector<std::string> sets = {
        "model.dim=16",     "model.depth=1",  "model.patch=8",    "views.size=32",
        "batch.anchors=12", "train.epochs=1", "loader.workers=1", "validation.every_epochs=0"};
    sets.insert(sets.end(), more.begin(), more.end());
    return sets;
  }
  static test::TempDir* folder_;
};
test::TempDir* ViewsOfPlates::folder_ = nullptr;

TEST_F(ViewsOfPlates, EveryColumnIsThereOrSaysWhy) {
  const std::string text = evaluated(run());
  EXPECT_THAT(text, AllOf(HasSubstr("32 test images, a bank of 96, 13 classes, fold 1"),
                          HasSubstr("1-NN MoA"), HasSubstr("k-NN after ComBat"),
                          HasSubstr("controls 8"), Not(HasSubstr("left out"))));
  const JsonView json = views_json(run());
  for (const ViewsColumn& column : views_columns()) {
    ASSERT_TRUE(json.find(column.key)) << column.key;
    const double value = json[column.key].number();
    EXPECT_TRUE(!column.percent || (value >= 0 && value <= 1)) << column.key << " " << value;
    EXPECT_TRUE(json["counts"].find(column.key) || column.key.ends_with("control_std"))
        << column.key;
  }
  EXPECT_EQ(json["bank_images"].integer(), 96);
  EXPECT_EQ(json["counts"]["moa_1nn"]["candidates"].integer(), 13);
  EXPECT_EQ(json["counts"]["kbet"]["batches"].integer(), 2);
  const CsvTable csv = read_csv(run() / "evaluation" / "views.csv", "views.csv");
  ASSERT_EQ(csv.rows.size(), 32u);
  const auto right = std::ranges::count_if(
      csv.rows, [](const CsvRow& row) { return row.fields[1] == row.fields[2]; });
  EXPECT_DOUBLE_EQ(json["lin"].number(), static_cast<double>(right) / 32);
}

TEST_F(ViewsOfPlates, AgreesWithTheEvaluationOfItsFeatures) {
  evaluated(run());
  const JsonView json = views_json(run());
  const EmbeddingReport report = report_on(read_embeddings(run() / "evaluation" / "features"),
                                           {.knn = {}, .kbet = {}, .probe = {.seed = 1}});
  const struct {
    const char *column, *row, *measure;
  } columns[] = {{"lin_offline", "none", "linear_probe"},
                 {"knn", "none", "knn"},
                 {"z_norm_knn", "z_norm_all", "knn"},
                 {"z_norm_knn_controls", "z_norm_controls", "knn"},
                 {"z_norm_knn_minibatch92", "z_norm_minibatch92", "knn"},
                 {"kbet_train", "none", "kbet_train"},
                 {"kbet", "none", "kbet_test"},
                 {"kbet_z_norm", "z_norm_all", "kbet_test"},
                 {"grit_train", "none", "grit_train"},
                 {"grit", "none", "grit_test"},
                 {"grit_z_norm", "z_norm_all", "grit_test"},
                 {"moa_1nn", "none", "moa"},
                 {"tvn_knn", "tvn", "knn"},
                 {"combat_knn", "combat", "knn"},
                 {"whitening_knn", "whitening", "knn"},
                 {"tvn_kbet", "tvn", "kbet_test"},
                 {"combat_kbet", "combat", "kbet_test"}};
  size_t compared = 1;  // lin: of the classifier, not of the features
  for (const auto& [column, row, name] : columns) {
    const auto of = std::ranges::find(report.table, row, &ReportRow::key);
    const auto measure = std::ranges::find(of->measures, name, &Measure::key);
    EXPECT_EQ(json[column].number(), measure->value) << column;
    ++compared;
    for (const auto& [count, value] : measure->counts.entries) {
      if (count != "control_std") continue;
      EXPECT_EQ(json[std::string(column) + "_control_std"].number(),
                parse_json(value.line(), count).number());
      ++compared;
    }
  }
  EXPECT_EQ(compared, views_columns().size());
}

TEST_F(ViewsOfPlates, NothingIsForwardedTwice) {
  const RunFeatures first = features_of(run());
  EXPECT_EQ(first.count(Part::test), 32);
  EXPECT_EQ(first.count(Part::train), 96);
  const fs::path away = *folder_ / "away";
  fs::rename(screen(), away);
  const RunFeatures again = features_of(run());
  EXPECT_EQ(again.set.features.values, first.set.features.values);
  EXPECT_EQ(again.answers, first.answers);
  FeatureOptions some;
  some.parts = {Part::test};
  const RunFeatures test = features_of(run(), some);
  EXPECT_EQ(test.set.rows(), 32);
  EXPECT_EQ(test.classes.size(), 32u);
  // What is not there yet needs the screen.
  some.parts = {Part::validation};
  EXPECT_THROW(features_of(run(), some), Error);
  fs::rename(away, screen());
  EXPECT_EQ(features_of(run(), some).set.rows(), 32);
  EXPECT_EQ(features_of(run()).set.features.values, first.set.features.values);

  // Of another screen they are others: here one on which all images are alike.
  const fs::path alike = *folder_ / "alike";
  fs::copy(screen(), alike, fs::copy_options::recursive);
  std::optional<fs::path> one;
  for (const auto& entry : fs::recursive_directory_iterator(alike)) {
    if (entry.path().extension() != ".png") continue;
    if (!one) one = entry.path();
    if (entry.path() != *one)
      fs::copy_file(*one, entry.path(), fs::copy_options::overwrite_existing);
  }
  FeatureOptions other;
  other.data = alike;
  EXPECT_NE(features_of(run(), other).set.features.values, first.set.features.values);
  EXPECT_EQ(features_of(run()).set.features.values, first.set.features.values);

  // So are its figures: those of one screen do not stand for the other's.
  const double own = views_figures(run())["grit"].number();
  EXPECT_TRUE(views_figures(run(), other)["grit"].is_null());  // controls that do not vary
  EXPECT_EQ(views_figures(run())["grit"].number(), own);
}

// A corrected table is read again, and what was said of the old one is said anew.
TEST_F(ViewsOfPlates, LabelsAreThoseOfTheTable) {
  const fs::path table = screen() / "metadata.csv";
  const std::string before = test::read_text(table);
  const std::vector<std::string> moas = features_of(run()).set.moa.names;
  ASSERT_EQ(moas.size(), 4u);
  const double figure = views_figures(run())["moa_1nn"].number();
  EXPECT_LT(figure, 1);
  std::string one_mechanism = before;
  for (size_t m = 1; m < moas.size(); ++m)
    for (size_t at = 0; (at = one_mechanism.find(moas[m], at)) != std::string::npos;)
      one_mechanism.replace(at, moas[m].size(), moas[0]);
  test::write_text(table, one_mechanism);
  EXPECT_EQ(views_figures(run())["moa_1nn"].number(), 1);
  EXPECT_EQ(features_of(run()).set.moa.names.size(), 1u);
  test::write_text(table, before);
  EXPECT_EQ(features_of(run()).set.moa.names, moas);
  EXPECT_EQ(views_figures(run())["moa_1nn"].number(), figure);
}

// Mechanisms as classes, from the backbone of another run: with no step taken its features, and so
// all that is said of treatments, are that run's.
TEST_F(ViewsOfPlates, StartsFromAnotherRun) {
  evaluated(run());
  const fs::path tuned = *folder_ / "tuned";
  const std::string start = "model.init_from=" + run().string();
  ASSERT_EQ(train("smoke/cdcl/table2a/supervised-finetuned", screen(), tuned,
                  sets({start, "train.epochs=0"})),
            0);
  EXPECT_THAT(evaluated(tuned),
              AllOf(HasSubstr("5 classes"), HasSubstr("Lin.: the run has no trained classifier")));
  EXPECT_EQ(features_of(tuned).set.features.values, features_of(run()).set.features.values);
  const JsonView before = views_json(run()), after = views_json(tuned);
  for (const char* same : {"moa_1nn", "grit", "grit_train", "kbet", "kbet_z_norm"})
    EXPECT_EQ(after[same].number(), before[same].number()) << same;

  // Trained, it is another network, and has a classifier of mechanisms.
  const fs::path trained = *folder_ / "trained";
  ASSERT_EQ(train("smoke/cdcl/table2a/supervised-finetuned", screen(), trained, sets({start})), 0);
  evaluated(trained);
  EXPECT_NE(features_of(trained).set.features.values, features_of(run()).set.features.values);
  EXPECT_TRUE(views_json(trained).find("lin"));

  // A backbone that does not fit.
  try {
    train("smoke/cdcl/table2a/supervised-finetuned", screen(), *folder_ / "wrong",
          sets({start, "model.dim=32"}));
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("the run's weights do not fit this recipe's network"));
  }
}

TEST_F(ViewsOfPlates, TheStartOfTheStartLabelsToo) {
  Recipe recipe = load_recipe("cdcl/table2a/cdcl-finetuned");
  EXPECT_EQ(label_of(recipe), "");
  recipe.model.init_from = run().string();
  EXPECT_EQ(label_of(recipe), "");
  const fs::path untrained = *folder_ / "from-scratch";
  ASSERT_EQ(train("smoke/cdcl/table2a/imagenet", screen(), untrained,
                  sets({"train.epochs=0", "model.from_scratch=true"})),
            0);
  recipe.model.init_from = untrained.string();
  EXPECT_EQ(label_of(recipe), "from scratch");
  recipe.model.init_from = (*folder_ / "nowhere").string();
  EXPECT_EQ(label_of(recipe), "from a run that is gone");
}

class ViewsOfExperiments : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }
  static test::TempDir* screen_;
};
test::TempDir* ViewsOfExperiments::screen_ = nullptr;

// One test experiment without mechanisms.
TEST_F(ViewsOfExperiments, WhatCannotBeComputedIsListed) {
  test::TempDir folder;
  ASSERT_EQ(train("smoke/controls/untrained", screen_->path(), folder / "run",
                  {"model.dim=16", "model.depth=1", "model.patch=4", "views.size=16",
                   "loader.workers=1"}),
            0);
  EXPECT_THAT(evaluated(folder / "run"),
              AllOf(HasSubstr("16 test images, a bank of 32, 4 classes"),
                    HasSubstr("left out: Lin.: the run has no trained classifier"),
                    HasSubstr("k-BET, k-BET Z-norm, k-BET after TVN, k-BET after ComBat: "),
                    HasSubstr("left out: 1-NN MoA: ")));
  const JsonView json = views_json(folder / "run");
  EXPECT_TRUE(json["lin"].is_null());
  EXPECT_TRUE(json["kbet"].is_null());
  EXPECT_THAT(json["left_out"]["kbet"].string(), HasSubstr("one batch"));
  EXPECT_TRUE(json.find("knn") && json.find("grit") && json.find("kbet_train"));
  const JsonView figures = views_figures(folder / "run");
  EXPECT_FALSE(figures.find("kbet"));
  EXPECT_EQ(figures["knn"].number(), json["knn"].number());
}

// AdaBN in groups, measured as the views are; validated by k-NN on the way.
TEST_F(ViewsOfExperiments, GroupsOnTheSameParts) {
  test::TempDir folder;
  std::vector<std::string> sets = test::tiny_sets();
  sets.insert(sets.end(), {"data.fold=1", "data.validation_experiments=0", "train.epochs=2",
                           "validation.every_epochs=1", "validation.k=5"});
  ASSERT_EQ(train("smoke/cdcl/adabn-supervised", screen_->path(), folder / "run", sets), 0);
  EXPECT_TRUE(fs::exists(folder / "run" / "validation.jsonl"));
  EXPECT_THAT(evaluated(folder / "run"),
              AllOf(HasSubstr("experiment statistics"),
                    HasSubstr("16 test images, a bank of 32, 4 classes, fold 1")));
  const JsonView views = views_json(folder / "run");
  const JsonView accuracy =
      read_json_file((folder / "run" / "evaluation" / "separated-experiment.json").string());
  EXPECT_EQ(views["lin"].number(), accuracy["accuracy"].number());
  EXPECT_EQ(views["accuracy"].number(), accuracy["accuracy"].number());
  EXPECT_TRUE(views.find("z_norm_knn"));

  // Asked for with other statistics, figures are others, and do not stand for the run's own.
  FeatureOptions running;
  running.statistics = "running";
  const JsonView others = views_figures(folder / "run", running);
  EXPECT_EQ(others["statistics"].string(), "running");
  EXPECT_NE(others["grit"].number(), views["grit"].number());
  const JsonView again = views_figures(folder / "run");
  EXPECT_EQ(again["statistics"].string(), "experiment");
  EXPECT_EQ(again["grit"].number(), views["grit"].number());
}

}  // namespace
}  // namespace mono
