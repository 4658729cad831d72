// Whole runs of the tiny screen: logs, checkpoints, resuming, refusing.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <unistd.h>

#include <csignal>
#include <thread>

#include "models/safetensors.h"
#include "tests/train/tiny_screen.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/evaluate/evaluate.h"
#include "train/json.h"
#include "train/test_curve.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class TrainerTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }

  // A run of three epochs of four steps; 12 in all.
  static TrainOptions options(const fs::path& out, const std::vector<std::string>& sets = {}) {
    TrainOptions options;
    options.recipe = "smoke/rxrx1/table1/baseline";
    options.sets = test::tiny_sets();
    options.sets.push_back("checkpoint.every_steps=2");
    options.sets.insert(options.sets.end(), sets.begin(), sets.end());
    options.data = screen_->path();
    options.out = out;
    return options;
  }
  static test::TempDir* screen_;
};
test::TempDir* TrainerTest::screen_ = nullptr;

std::string weights_of(const fs::path& run) {
  return test::read_text(list_checkpoints(run).front() / "model.safetensors");
}

std::vector<JsonView> metrics_of(const fs::path& run) {
  std::istringstream lines(test::read_text(run / "metrics.jsonl"));
  std::vector<JsonView> rows;
  for (std::string line; std::getline(lines, line);)
    rows.push_back(parse_json(line, "metrics.jsonl"));
  return rows;
}

TEST_F(TrainerTest, WritesARowAStepAndTheLastCheckpoint) {
  test::TempDir dir;
  EXPECT_EQ(run_train(options(dir / "run", {"checkpoint.every_steps=0", "batch.groups=1"})), 0);
  const std::vector<JsonView> rows = metrics_of(dir / "run");
  ASSERT_EQ(rows.size(), 24u);
  for (size_t i = 0; i < rows.size(); ++i) {
    EXPECT_EQ(rows[i]["step"].integer(), static_cast<int64_t>(i) + 1);
    EXPECT_EQ(rows[i]["epoch"].integer(), static_cast<int64_t>(i) / 8 + 1);
    EXPECT_GT(rows[i]["loss"].number(), 0);
    EXPECT_EQ(rows[i]["ranks"].integer(), 1);
  }
  EXPECT_EQ(list_checkpoints(dir / "run").front().filename(), "step_00000024");
  EXPECT_TRUE(fs::exists(dir / "run" / "recipe.toml"));
}

TEST_F(TrainerTest, ResumedFromAnyCheckpointEndsWithTheSameBits) {
  test::TempDir dir;
  for (const auto& sets : {std::vector<std::string>{"augment.mixing=cutmix"},
                           {"batch.one_experiment_per_group=true", "domain.adabn=true",
                            "batch_head.mode=reversed", "batch_head.schedule=ramp"}}) {
    const fs::path whole = dir / ("whole" + std::to_string(sets.size()));
    ASSERT_EQ(run_train(options(whole, sets)), 0);
    const size_t steps = metrics_of(whole).size();
    const fs::path cut = dir / ("cut" + std::to_string(sets.size()));
    fs::copy(whole, cut, fs::copy_options::recursive);
    // From the newest but one; then, with none left, from the start.
    for (const size_t lost : {size_t{1}, size_t{2}}) {
      const std::vector<fs::path> checkpoints = list_checkpoints(cut);
      ASSERT_EQ(checkpoints.size(), 2u);
      for (size_t i = 0; i < lost; ++i) fs::remove_all(checkpoints[i]);
      TrainOptions again = options(cut, sets);
      again.resume = true;
      again.sets.push_back(fmt::format("loader.workers={}", 2 * (lost - 1)));  // changes no bit
      ASSERT_EQ(run_train(again), 0);
      EXPECT_EQ(weights_of(cut), weights_of(whole));
      const std::vector<JsonView> rows = metrics_of(cut), expected = metrics_of(whole);
      ASSERT_EQ(rows.size(), steps);
      for (size_t i = 0; i < rows.size(); ++i) {
        EXPECT_EQ(rows[i]["step"].integer(), static_cast<int64_t>(i) + 1);
        EXPECT_EQ(rows[i]["loss"].number(), expected[i]["loss"].number());
      }
    }
  }
}

// Figure 10 of RxRx1: a row an epoch, as `evaluate` counts; no weight is another one.
TEST_F(TrainerTest, TheTestCurveIsRecordedAndDecidesNothing) {
  test::TempDir dir;
  for (const auto& sets : {std::vector<std::string>{"checkpoint.every_epochs=1"},
                           {"batch.one_experiment_per_group=true", "domain.adabn=true"}}) {
    const std::string name = std::to_string(sets.size());
    ASSERT_EQ(run_train(options(dir / ("plain" + name), sets)), 0);
    TrainOptions with_curve = options(dir / ("curve" + name), sets);
    with_curve.sets.push_back("test_curve.every_epochs=1");
    ASSERT_EQ(run_train(with_curve), 0);
    EXPECT_EQ(weights_of(with_curve.out), weights_of(dir / ("plain" + name)));
    const std::vector<TestCurvePoint> points = read_test_curve(with_curve.out);
    ASSERT_EQ(points.size(), 3u);
    EXPECT_TRUE(has_test_curve(with_curve.out));
    EXPECT_FALSE(has_test_curve(dir / ("plain" + name)));
    const TrainedRun run = load_run(with_curve.out, {}, {}, {});
    const Evaluation evaluation = evaluate(run, statistics_mode({}, run.setup->recipe));
    EXPECT_DOUBLE_EQ(points[2].accuracy, evaluation.figures.overall.value());

    // Resumed in the middle it has neither gap nor repeat.
    const std::string curve = test::read_text(with_curve.out / "test_curve.jsonl");
    fs::remove_all(list_checkpoints(with_curve.out).front());
    with_curve.resume = true;
    ASSERT_EQ(run_train(with_curve), 0);
    EXPECT_EQ(test::read_text(with_curve.out / "test_curve.jsonl"), curve);
  }
}

// As batch systems stage it: the screen is at another place each time.
TEST_F(TrainerTest, AResumedRunKnowsWhereItsScreenIsNow) {
  test::TempDir dir;
  TrainOptions run = options(dir / "run");
  run.data = dir / "first";
  fs::copy(screen_->path(), run.data, fs::copy_options::recursive);
  ASSERT_EQ(run_train(run), 0);
  const auto before = weights_of(run.out);
  fs::remove_all(list_checkpoints(run.out).front());
  fs::rename(run.data, dir / "second");
  try {
    load_run(run.out, {}, {}, {});
    ADD_FAILURE() << "found";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), testing::HasSubstr("first (run.json), where there is nothing now"));
  }
  run.data = dir / "second";
  run.resume = true;
  ASSERT_EQ(run_train(run), 0);
  EXPECT_EQ(weights_of(run.out), before);
  EXPECT_EQ(read_run_info(run.out).data, (dir / "second").string());
  EXPECT_FALSE(load_run(run.out, {}, {}, {}).other_screen);
}

TEST_F(TrainerTest, ATestCurveWithAGapIsNone) {
  test::TempDir dir;
  const RunDirectory run(dir / "run");
  run.start(test::tiny_recipe({"test_curve.every_epochs=2", "train.epochs=5"}), {});
  const auto curve_of = [&](const std::vector<int>& epochs) {
    std::string text;
    for (const int epoch : epochs)
      text += fmt::format("{{\"step\": {}, \"epoch\": {}, \"accuracy\": 0.5}}\n", 4 * epoch, epoch);
    test::write_text(run.path() / "test_curve.jsonl", text);
    return has_test_curve(run.path());
  };
  EXPECT_TRUE(curve_of({2, 4, 5}));
  EXPECT_FALSE(curve_of({4, 5}));
  EXPECT_FALSE(curve_of({2, 4}));
}

// Rows wait for room; training is not ended for them.
TEST_F(TrainerTest, AFullDiskEndsNoTrainingForItsTestCurve) {
  test::TempDir dir;
  const std::unique_ptr<RunSetup> setup =
      set_up(test::tiny_recipe({"test_curve.every_epochs=1"}), screen_->path());
  const std::unique_ptr<Model> model = make_model(*setup);
  const RunDirectory run(dir / "run");
  run.start(setup->recipe, {});
  TestCurve curve(*setup, run, single_process(), 0);
  const auto record = [&](int64_t epoch) {
    return curve.record(4 * epoch, epoch, *model, [] { return false; });
  };
  auto* const before_signal = std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 4;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  // The warning goes where there is room.
  const int standard_error = ::dup(STDERR_FILENO), nowhere = ::open("/dev/null", O_WRONLY);
  ::dup2(nowhere, STDERR_FILENO);
  EXPECT_TRUE(record(1));
  ::dup2(standard_error, STDERR_FILENO);
  ::close(standard_error);
  ::close(nowhere);
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  std::signal(SIGXFSZ, before_signal);
  EXPECT_TRUE(read_test_curve(run.path()).empty());
  EXPECT_TRUE(record(2));
  ASSERT_EQ(read_test_curve(run.path()).size(), 2u);
  EXPECT_EQ(read_test_curve(run.path())[0].epoch, 1);
}

TEST_F(TrainerTest, ASignalSavesTheLastLoggedStep) {
  test::TempDir dir;
  ASSERT_EQ(run_train(options(dir / "whole")), 0);
  TrainOptions interrupted = options(dir / "run", {"checkpoint.every_steps=0"});
  interrupted.resume = true;
  int interruptions = 0;
  for (const int signal : {SIGTERM, SIGINT, SIGUSR1, SIGTERM, SIGTERM}) {
    std::thread sender([signal, wait = 20 + 15 * interruptions] {
      std::this_thread::sleep_for(std::chrono::milliseconds(wait));
      ::kill(::getpid(), signal);
    });
    // Should the run be over before the signal: that one is for this handler.
    struct sigaction ignore {
    }, before{};
    ignore.sa_handler = SIG_IGN;
    ::sigaction(signal, &ignore, &before);
    const int exit_code = run_train(interrupted);
    sender.join();
    ::sigaction(signal, &before, nullptr);
    if (exit_code == 0) break;
    ASSERT_EQ(exit_code, 75);
    ++interruptions;
    const auto newest = load_last_checkpoint(dir / "run");
    EXPECT_EQ(static_cast<int64_t>(metrics_of(dir / "run").size()), newest.step);
  }
  EXPECT_GT(interruptions, 0);
  ASSERT_EQ(run_train(interrupted), 0);
  EXPECT_EQ(weights_of(dir / "run"), weights_of(dir / "whole"));
}

// No room for a file: every write above the limit fails, as on a full disk.
TEST_F(TrainerTest, AFullDiskIsReportedAndSurvived) {
  test::TempDir dir;
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ::getrlimit(RLIMIT_FSIZE, &before);
  const rlimit full{8000, before.rlim_max};
  ::setrlimit(RLIMIT_FSIZE, &full);
  std::string message;
  int kind = 0;
  testing::internal::CaptureStderr();
  try {
    run_train(options(dir / "run"));
  } catch (const Error& error) {
    message = error.what();
    kind = error.exit_code();
  }
  ::setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_THAT(testing::internal::GetCapturedStderr(), HasSubstr("trying again later"));
  EXPECT_EQ(kind, 5);
  EXPECT_THAT(message, HasSubstr("run"));
  TrainOptions again = options(dir / "run");
  again.resume = true;
  ASSERT_EQ(run_train(again), 0);
  ASSERT_EQ(run_train(options(dir / "whole")), 0);
  EXPECT_EQ(weights_of(dir / "run"), weights_of(dir / "whole"));
  EXPECT_EQ(metrics_of(dir / "run").size(), 12u);
}

TEST_F(TrainerTest, RefusesWhatCannotBeResumed) {
  test::TempDir dir;
  ASSERT_EQ(run_train(options(dir / "run", {"train.epochs=1"})), 0);
  const auto refused = [&](TrainOptions again) -> std::pair<int, std::string> {
    try {
      run_train(again);
    } catch (const Error& error) {
      return {error.exit_code(), error.what()};
    }
    return {0, ""};
  };
  const auto [twice, twice_text] = refused(options(dir / "run", {"train.epochs=1"}));
  EXPECT_EQ(twice, 2);
  EXPECT_THAT(twice_text, HasSubstr("--resume auto"));
  TrainOptions other = options(dir / "run", {"train.epochs=1", "optim.lr=0.01"});
  other.resume = true;
  const auto [changed, changed_text] = refused(other);
  EXPECT_EQ(changed, 2);
  EXPECT_THAT(changed_text, HasSubstr("optim.lr"));
  // The same recipe on a screen with other sites.
  test::TempDir smaller;
  test::write_tiny_screen(smaller.path());
  fs::remove(smaller / "images/HUVEC-01/Plate1/B02_s1_w1.png");
  TrainOptions moved = options(dir / "run", {"train.epochs=1"});
  moved.resume = true;
  moved.data = smaller.path();
  const auto [elsewhere, elsewhere_text] = refused(moved);
  EXPECT_EQ(elsewhere, 3);
  EXPECT_THAT(elsewhere_text, HasSubstr("other sites"));
}

TEST_F(TrainerTest, DivergenceEndsWithoutSavingIt) {
  test::TempDir dir;
  try {
    run_train(options(dir / "run", {"optim.lr=1e3", "optim.warmup_epochs=0.0", "train.epochs=50",
                                    "optim.momentum=0.999", "optim.weight_decay=1.0"}));
    FAIL() << "a learning rate of 1000 and it did not diverge";
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 4);
    EXPECT_THAT(error.what(), HasSubstr("step "));
  }
  const LoadedCheckpoint checkpoint = load_last_checkpoint(dir / "run");
  for (const SafetensorsEntry& entry : checkpoint.model.entries())
    for (const float value : checkpoint.model.values<float>(entry.name))
      ASSERT_TRUE(std::isfinite(value)) << entry.name;
}

TEST_F(TrainerTest, TheExperimentAsTheTarget) {
  test::TempDir dir;
  EXPECT_EQ(run_train(options(dir / "run", {"data.target=experiment", "data.normalisation=all",
                                            "train.epochs=30"})),
            0);
  const std::vector<JsonView> rows = metrics_of(dir / "run");
  EXPECT_LT(rows.back()["target_loss"].number(), rows.front()["target_loss"].number() / 2);
}

TEST_F(TrainerTest, ChecksBeforeTraining) {
  test::TempDir dir;
  PreflightOptions check;
  check.recipe = "smoke/rxrx1/table1/adabn";
  check.sets = test::tiny_sets();
  check.data = screen_->path();
  check.out = dir.path();
  testing::internal::CaptureStdout();
  const int code = run_check(check);
  const std::string text = testing::internal::GetCapturedStdout();
  EXPECT_EQ(code, 0) << text;
  EXPECT_THAT(text, HasSubstr("48 training and 16 test images"));
  EXPECT_THAT(text, HasSubstr("written and read back"));
  EXPECT_THAT(text, HasSubstr("ready to train"));
  EXPECT_TRUE(fs::is_empty(dir.path()));
}

}  // namespace
}  // namespace mono
