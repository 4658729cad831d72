// The whole of `reproduce` on the tiny screen: training, evaluation, tables; going on from what is
// there; and what happens where a run cannot be trained.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <csignal>
#include <fstream>

#include "tests/train/tiny_screen.h"
#include "train/commands.h"
#include "train/json.h"
#include "train/reproduce/execute.h"
#include "train/test_curve.h"

namespace mono {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

class Reproduce : public ::testing::Test {
 protected:
  Reproduce() {
    test::write_tiny_screen(folder_ / "screen");
    options_.smoke = true;
    options_.sets = test::tiny_sets();
    options_.data = folder_ / "screen";
    options_.out = folder_ / "out";
    options_.compute.device = "cpu";
  }

  std::string run(int expected_code = 0) {
    ::testing::internal::CaptureStdout();
    ::testing::internal::CaptureStderr();
    const int code = run_reproduce(options_);
    ::testing::internal::GetCapturedStderr();
    const std::string text = ::testing::internal::GetCapturedStdout();
    EXPECT_EQ(code, expected_code) << text;
    return text;
  }
  JsonView table(const std::string& id) const {
    return read_json_file((options_.out / id / "table.json").string());
  }

  const test::TempDir folder_;
  ReproduceOptions options_;
};

TEST_F(Reproduce, TrainsEvaluatesAndUsesWhatIsThere) {
  options_.methods = {"baseline", "baseline-posthoc", "adabn"};
  options_.seeds = {1, 2};
  EXPECT_THAT(run(), AllOf(HasSubstr("[8 of 8] smoke/rxrx1/table1/adabn, stratified"),
                           HasSubstr("[8 of 8] done in"), HasSubstr("of training left")));
  const std::vector<JsonView> rows = table("rxrx1/table1")["rows"].array();
  ASSERT_EQ(rows.size(), 3u);
  EXPECT_EQ(rows[0]["method"].string(), "baseline");
  EXPECT_THAT(rows[1]["beside_the_paper"].string(), HasSubstr("control, not AdaBN"));
  EXPECT_EQ(rows[2]["method"].string(), "adabn");
  for (const JsonView& row : rows)
    for (const char* column : {"separated", "stratified", "batch_accuracy"})
      EXPECT_EQ(row[column]["n"].integer(), 2) << column;

  // Each figure is that of the run beside the table; batch generalisation is the ratio, seed by
  // seed.
  const auto evaluation = [&](const std::string& method, const std::string& split,
                              const std::string& name) {
    return read_json_file(
        (options_.out / "runs/smoke/rxrx1/table1" / method / split / "seed-2" / "evaluation" / name)
            .string());
  };
  const JsonView own = evaluation("adabn", "separated", "separated-experiment.json");
  EXPECT_EQ(own["seed"].integer(), 2);
  const auto value = [&](const char* column) {
    return rows[2][column]["values"].array()[1].number();
  };
  EXPECT_DOUBLE_EQ(value("separated"), 100 * own["accuracy"].number());
  EXPECT_DOUBLE_EQ(value("batch_generalisation"), 100 * value("separated") / value("stratified"));
  const JsonView control = evaluation("baseline", "separated", "separated-experiment.json");
  EXPECT_DOUBLE_EQ(rows[1]["separated"]["values"].array()[1].number(),
                   100 * control["accuracy"].number());

  // A second call trains and evaluates nothing again; Table 3 needs only what is there.
  const std::string before = test::read_text(options_.out / "rxrx1/table1/table.json");
  EXPECT_THAT(run(), AllOf(HasSubstr("[8 of 8] is there already"), Not(HasSubstr("done in"))));
  EXPECT_EQ(test::read_text(options_.out / "rxrx1/table1/table.json"), before);
  options_.table = "rxrx1/table3";
  options_.methods = {"baseline", "adabn"};
  EXPECT_THAT(run(), AllOf(Not(HasSubstr("done in")), HasSubstr("the screen has no HEPG2")));

  // A picture says what it is of, and of which of the runs.
  options_.table = "rxrx1/fig7";
  EXPECT_THAT(run(), Not(HasSubstr("done in")));
  const JsonView figure = read_json_file((options_.out / "rxrx1/fig7/rxrx1_fig7.json").string());
  EXPECT_THAT(figure["caption"].string(),
              AllOf(HasSubstr("Not the paper's scale: changed smoke recipes"),
                    HasSubstr("pairs of test images"), HasSubstr("of the same cell type"),
                    HasSubstr("one run is shown: separated split, seed 1.")));
  EXPECT_THAT(test::read_text(options_.out / "rxrx1/fig7/rxrx1_fig7_1.svg"),
              HasSubstr("changed smoke recipes"));
}

// A run that cannot be trained is named; the ones behind it are trained all the same.
TEST_F(Reproduce, ATrainingThatFailsLosesNoOther) {
  options_.methods = {"baseline"};
  options_.seeds = {1};
  const std::filesystem::path runs = options_.out / "runs/smoke/rxrx1/table1/baseline";
  std::filesystem::create_directories(runs / "separated");
  std::ofstream(runs / "separated/seed-1") << "a file where the run's folder would be";
  const std::string text = run(static_cast<int>(ErrorKind::storage));
  EXPECT_THAT(text, HasSubstr("[2 of 2] done in"));
  const JsonView row = table("rxrx1/table1")["rows"].array()[0];
  EXPECT_EQ(row["separated"]["n"].integer(), 0);
  EXPECT_THAT(row["separated"]["absent"].string(), HasSubstr("failed: "));
  EXPECT_EQ(row["stratified"]["n"].integer(), 1);
}

// One damaged image stops the evaluation that reads it, and the table says so.
TEST_F(Reproduce, ARunThatFailsLosesNoOther) {
  options_.methods = {"baseline"};
  options_.seeds = {1};
  const std::filesystem::path image = folder_ / "screen/images/HUVEC-04/Plate1/B03_s1_w1.png";
  ASSERT_TRUE(std::filesystem::exists(image));
  std::ofstream(image, std::ios::binary) << "no PNG";
  const std::string text = run(3);  // HUVEC-04 is a test experiment, but stratified trains on it
  EXPECT_THAT(text, HasSubstr("failed: "));
  const JsonView separated = table("rxrx1/table1")["rows"].array()[0]["separated"];
  EXPECT_EQ(separated["n"].integer(), 0);
  EXPECT_THAT(separated["absent"].string(), HasSubstr("failed: evaluation: "));
  EXPECT_TRUE(std::filesystem::exists(options_.out / "results.json"));
}

// A run that has been finished without its test curve is not changed: it is trained beside it.
TEST_F(Reproduce, Figure10RecordsTheTestAccuracyOnce) {
  options_.table = "rxrx1/fig10";
  options_.methods = {"adabn"};
  options_.seeds = {1};
  EXPECT_THAT(run(), HasSubstr("test accuracy"));
  const std::filesystem::path run_folder = options_.out / "runs/smoke/rxrx1/fig10/adabn/separated";
  const std::vector<TestCurvePoint> points = read_test_curve(run_folder / "seed-1");
  ASSERT_EQ(points.size(), 2u);  // every second epoch of 3, and the last
  EXPECT_EQ(points[0].epoch, 2);
  EXPECT_EQ(points[1].epoch, 3);
  EXPECT_TRUE(std::filesystem::exists(options_.out / "report.html"));
  EXPECT_THAT(table("rxrx1/fig10")["pictures"].array(), ::testing::SizeIs(::testing::Ge(1u)));
  EXPECT_TRUE(table("rxrx1/fig10")["no_picture"].is_null());
  options_.table = "rxrx1/table1";
  EXPECT_THAT(run(), AllOf(HasSubstr("[1 of 2] is there already"), HasSubstr("[2 of 2] done")));
}

// What was not asked for cannot be drawn from; that is said, and no failure.
TEST_F(Reproduce, APictureThatCannotBeIsNoFailure) {
  options_.table = "rxrx1/fig8";
  options_.methods = {"1", "12"};
  options_.sets.push_back("train.epochs=1");
  EXPECT_THAT(run(), HasSubstr("There is no picture: Shapley values take a run on every subset"));
  EXPECT_EQ(table("rxrx1/fig8")["rows"].array()[0]["separated"]["n"].integer(), 1);
}

// Between two runs and between two evaluations; the next call goes on.
TEST_F(Reproduce, ASignalIsSeenWhereNothingIsTrained) {
  options_.methods = {"adabn"};
  options_.seeds = {1};
  options_.sets.push_back("train.epochs=1");
  run();
  options_.table = "rxrx1/table3";
  const SignalCatcher signals;
  ::raise(SIGUSR1);
  EXPECT_THAT(run(static_cast<int>(ErrorKind::interrupted)), HasSubstr("is there already"));
  EXPECT_FALSE(std::filesystem::exists(options_.out / "rxrx1/table3"));
  const Plan plan = make_plan(options_);
  Execution execution;
  execution.runs.resize(plan.runs.size());
  try {
    collect(plan, plan.experiments[0], execution, Device::cpu, signals);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::interrupted);
  }
}

// The picture is of the point that stands in the table (steps far too large are not chosen), and no
// other one sees a test image.
TEST_F(Reproduce, ARehearsalsScreenIsPackedOnce) {
  const std::filesystem::path screens = options_.out / "screens", cache = screens / "rxrx1.cache";
  std::filesystem::create_directories(screens);
  std::filesystem::rename(options_.data, screens / "rxrx1");  // as if made by an earlier call
  options_.data.clear();
  options_.sets.clear();
  options_.table = "rxrx1/fig2";  // trains nothing
  run();
  const auto made = std::filesystem::last_write_time(cache);
  run();
  EXPECT_EQ(std::filesystem::last_write_time(cache), made);
  EXPECT_THAT(test::read_text(options_.out / "report.html"), HasSubstr("--cache"));
}

TEST_F(Reproduce, ACacheIsOfAScreen) {
  const auto error = [&] {
    try {
      run_reproduce(options_);
    } catch (const Error& e) {
      EXPECT_EQ(e.kind(), ErrorKind::usage);
      return std::string(e.what());
    }
    return std::string("no error");
  };
  options_.cpg0004_cache = "lincs.cache";
  EXPECT_THAT(error(), HasSubstr("--cpg0004-cache lincs.cache: belongs to --cpg0004"));
  options_.data.clear();
  options_.cache = "my.cache";
  EXPECT_THAT(error(), HasSubstr("--cache my.cache: belongs to --data"));
}

TEST_F(Reproduce, OfAGridOnlyTheChosenPointIsEvaluated) {
  options_.table = "cdcl/fig1";
  options_.methods = {"supervised"};
  options_.seeds = {1};
  options_.sets = {"model.patch=4", "model.depth=1",   "model.dim=16",
                   "model.heads=2", "train.epochs=2",  "optim.warmup_steps=2",
                   "views.size=16", "batch.anchors=6", "validation.every_epochs=1",
                   "validation.k=3"};
  options_.grid = {"optim.lr=10,0.003"};
  EXPECT_THAT(run(), HasSubstr("validation k-NN"));
  const std::filesystem::path runs = options_.out / "runs/smoke/cdcl/table1/supervised/separated";
  const std::string chosen = table("cdcl/fig1")["rows"].array()[0]["chosen"].string();
  for (const std::string point : {"optim.lr=10", "optim.lr=0.003"}) {
    ASSERT_TRUE(std::filesystem::exists(runs / point / "seed-1/recipe.toml"));
    EXPECT_EQ(std::filesystem::exists(runs / point / "seed-1/evaluation"), point == chosen)
        << point;
  }
}

TEST_F(Reproduce, RunsOfAnotherScreenAreRefused) {
  options_.methods = {"adabn"};
  options_.seeds = {1};
  options_.sets.push_back("train.epochs=1");
  run();
  std::filesystem::copy(folder_ / "screen", folder_ / "other",
                        std::filesystem::copy_options::recursive);
  options_.data = folder_ / "other";
  EXPECT_THROW(run_reproduce(options_), Error);
}

// Floors beside methods that start from weights: nothing is loaded, here from where there is
// nothing.
TEST_F(Reproduce, FloorsOfCdclStartFromNothing) {
  options_.table = "cdcl/table1";
  options_.methods = {"untrained", "intensity-histogram"};
  options_.seeds = {1};
  options_.sets = {
      "model.patch=4", "model.depth=2",   "model.dim=32",   "data.validation_experiments=0",
      "views.size=16", "batch.anchors=6", "validation.k=3", "model.weights=/nowhere.safetensors"};
  EXPECT_THAT(run(), HasSubstr("| untrained, floor: a network that was never trained"));
}

}  // namespace
}  // namespace mono
