// Steps of self-supervision: against PyTorch, on the GPU of this build, resumed, and refused.
#include "train/self_supervised_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sys/resource.h>

#include <algorithm>
#include <cmath>
#include <csignal>

#include "kernels/base/philox.h"
#include "nn/functional/augmentation.h"
#include "tests/kernels/gpu_test.h"
#include "tests/models/formula.h"
#include "tests/paths.h"
#include "tests/train/tiny_screen.h"
#include "train/commands.h"
#include "train/data/png.h"
#include "train/idle_keys.h"
#include "train/train_checkpoint.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

// The tiny DeiT of tools/golden/cdcl_step.py on the tiny screen: 16 pixels, patches of 4. What does
// nothing in the recipe is left out.
std::vector<std::string> tiny_sets(const std::string& recipe,
                                   const std::vector<std::string>& more = {}) {
  std::vector<std::string> sets = {"model.patch=4",
                                   "model.depth=2",
                                   "model.dim=32",
                                   "model.heads=2",
                                   "model.drop_path=0.1",
                                   "data.validation_experiments=0",
                                   "data.channels=[1,2,3]",
                                   "batch.anchors=6",
                                   "views.size=16",
                                   "views.local_size=8",
                                   "views.locals=6",
                                   "ssl.hidden=24",
                                   "ssl.bottleneck=16",
                                   "ssl.outputs=20",
                                   "ssl.byol_hidden=24",
                                   "ssl.byol_outputs=12",
                                   "train.epochs=1",
                                   "validation.every_epochs=0",
                                   "optim.lr=3e-3",
                                   "optim.warmup_steps=2",
                                   "loader.workers=1",
                                   "ssl.barlow_diagonal=0.05",
                                   "ssl.barlow_off_diagonal=0.95"};
  sets.insert(sets.end(), more.begin(), more.end());
  return sets_that_apply(recipe, sets);
}

class SelfSupervisedStepTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }

  static std::unique_ptr<RunSetup> setup(const std::string& recipe,
                                         const std::vector<std::string>& more = {},
                                         Device device = Device::cpu) {
    const std::string name = "smoke/cdcl/table1/" + recipe;
    return set_up(load_recipe(name, tiny_sets(name, more)), screen_->path(), {}, device);
  }
  static TrainOptions options(const fs::path& out, const std::string& recipe,
                              const std::vector<std::string>& more = {}) {
    TrainOptions options;
    options.recipe =
        (recipe.ends_with("-bl") ? "smoke/cdcl/table3/" : "smoke/cdcl/table1/") + recipe;
    options.sets = tiny_sets(options.recipe, more);
    options.data = screen_->path();
    options.out = out;
    options.compute.device = "cpu";
    return options;
  }
  static test::TempDir* screen_;
};
test::TempDir* SelfSupervisedStepTest::screen_ = nullptr;

// ---- the golden step --------------------------------------------------------------------------

Tensor formula_crops(const std::string& name, int count, int side, int C, DType dtype) {
  const test::FormulaStream stream(name);
  const Tensor x = Tensor::empty({count, side, side, C}, dtype);
  const int64_t plane = int64_t{side} * side;
  std::vector<double> values(static_cast<size_t>(x.elements()));
  for (int n = 0; n < count; ++n)
    for (int64_t p = 0; p < plane; ++p)
      for (int c = 0; c < C; ++c)
        values[static_cast<size_t>((n * plane + p) * C + c)] = static_cast<double>(
            static_cast<float>(1.75 * stream.uniform((int64_t{n} * C + c) * plane + p)));
  test::assign(x, values);
  return x;
}

// As in tools/golden/cdcl_step.py.
ViewBatch golden_batch(Device device) {
  ViewBatch batch;
  batch.pairs = 6;
  batch.domains = {0, 1, 0, 2, 1, 0, 1, 0, 2, 0, 2, 1};
  batch.labels = {0, 1, 2, 3, 0, 2};
  batch.global = formula_crops("global", 12, 16, 3, DType::f32).to(device);
  batch.local = formula_crops("local", 36, 8, 3, DType::f32).to(device);
  return batch;
}

const std::vector<std::string>& golden_sets() {
  static const std::vector<std::string> sets = {"model.drop_path=0.0",
                                                "optim.clip=0.05",
                                                "optim.warmup_steps=0",
                                                "optim.warmup_epochs=0.0",
                                                "optim.schedule=constant",
                                                "optim.weight_decay=4e-3",
                                                "optim.weight_decay_end=1e-2",
                                                "ssl.teacher_momentum=0.9",
                                                "ssl.teacher_momentum_end=0.999",
                                                "ssl.teacher_temperature=0.04",
                                                "ssl.teacher_temperature_end=0.04",
                                                "probe.lr=1e-2",
                                                "probe.eta_min=1e-8",
                                                "probe.weight_decay=1e-3"};
  return sets;
}

// Sets every weight of the state to the formula's, by its name in the checkpoint.
void set_formula_state(const TrainingState& state, Model& student) {
  test::TempDir dir;
  const auto write = [&](const std::string& file, std::vector<NamedTensor> tensors, bool formula) {
    for (NamedTensor& t : tensors) {
      std::vector<double> values(static_cast<size_t>(t.values.elements()), 0.0);
      if (formula && t.name.ends_with("weight_g"))
        values.assign(values.size(), 1.0);
      else if (formula)
        values = test::formula_values(t.name, t.shape);
      test::assign(t.values, values);
    }
    write_safetensors((dir / file).string(), as_safetensors(tensors), {});
    return SafetensorsFile((dir / file).string());
  };
  state.restore(write("model", state.model_tensors(), true),
                write("optimizer", state.optimizer_tensors(), false));
  student.arena().weights_changed();
}

std::vector<double> golden(const std::string& name) {
  static const SafetensorsFile file(test::data_folder() + "/golden/cdcl_step.safetensors");
  return file.values<double>(name + "_f64");
}

// Rows of seven numbers, by name; the largest magnitude sets the scale.
void expect_rows(std::vector<NamedTensor> tensors, const std::string& golden_name,
                 double tolerance) {
  std::ranges::sort(tensors, {}, &NamedTensor::name);
  const std::vector<double> expected = golden(golden_name);
  ASSERT_EQ(tensors.size() * 7, expected.size()) << golden_name;
  for (size_t t = 0; t < tensors.size(); ++t) {
    const test::Fingerprint row =
        test::fingerprint(tensors[t].name, test::as_doubles(tensors[t].values));
    for (size_t i = 0; i < 7; ++i) {
      // The product with a pseudo-random vector grows with the norm, the others with the largest.
      const double scale = std::max(expected[t * 7 + (i == 2 ? 1 : 0)], 1e-4);
      EXPECT_NEAR(row[i], expected[t * 7 + i], tolerance * scale)
          << golden_name << " " << tensors[t].name << " " << i;
    }
  }
}

struct GoldenRun {
  explicit GoldenRun(std::unique_ptr<RunSetup> of)
      : setup(std::move(of)),
        model(make_model(*setup)),
        step(*setup, dynamic_cast<SelfSupervised&>(*model)) {
    set_formula_state(step.state(), *model);
    step.start(0, step.total_steps(), 0);
  }
  std::vector<NamedTensor> part(const std::string& prefix, const std::string& without) const {
    std::vector<NamedTensor> out;
    for (NamedTensor& t : const_cast<SelfSupervisedStep&>(step).state().model_tensors()) {
      if (!t.name.starts_with(prefix) || t.name.ends_with("weight_g")) continue;
      if (prefix.empty() && (t.name.starts_with("teacher.") || t.name.starts_with("probe.")))
        continue;
      t.name = t.name.substr(without.size());
      out.push_back(std::move(t));
    }
    return out;
  }
  std::unique_ptr<RunSetup> setup;
  std::unique_ptr<Model> model;
  SelfSupervisedStep step;
};

double figure(const StepFigures& figures, const std::string& name) {
  for (const auto& [key, value] : figures.more)
    if (key == name) return value;
  return std::nan("");
}

void run_golden(Device device, double tolerance, std::unique_ptr<RunSetup> setup) {
  ASSERT_EQ(setup->classes, 4);
  GoldenRun run(std::move(setup));
  ASSERT_EQ(run.step.total_steps(), 8);  // of the schedules in the script
  const ViewBatch batch = golden_batch(device);
  const std::vector<double> losses = golden("losses"), norms = golden("norms");
  for (int64_t i = 0; i < 2; ++i) {
    const StepFigures figures = run.step.run_on(i, batch);
    EXPECT_NEAR(figures.loss, losses[static_cast<size_t>(4 * i)], tolerance) << i;
    EXPECT_NEAR(figure(figures, "dino_loss"), losses[static_cast<size_t>(4 * i + 1)], tolerance);
    EXPECT_NEAR(figure(figures, "barlow_loss"), losses[static_cast<size_t>(4 * i + 2)], tolerance);
    EXPECT_NEAR(figures.target_loss, losses[static_cast<size_t>(4 * i + 3)], tolerance);
    EXPECT_NEAR(figures.gradient_norm, norms[static_cast<size_t>(i)],
                10 * tolerance * norms[static_cast<size_t>(i)]);
  }
  // AdamW divides by the root of squares: small gradients' rounding shows in the weights.
  expect_rows(run.part("", ""), "student", 100 * tolerance);
  expect_rows(run.part("teacher.", "teacher."), "teacher", 100 * tolerance);
  expect_rows(run.part("probe.", ""), "probe", 100 * tolerance);
  const std::vector<double> centres = golden("centres");
  for (const NamedTensor& t : run.step.state().optimizer_tensors()) {
    if (t.name != "centres") continue;
    const std::vector<double> ours = test::as_doubles(t.values);
    ASSERT_EQ(ours.size(), centres.size());
    for (size_t k = 0; k < ours.size(); ++k) EXPECT_NEAR(ours[k], centres[k], tolerance) << k;
  }
}

// Every gradient of one step, before clipping, element by element: the largest difference, relative
// to the gradient's largest element.
struct GradientErrors {
  double worst = 0;
  std::string worst_name;
  double norm = 0;  // of the whole gradient, as the step reports it, over PyTorch's; less 1
};

GradientErrors gradient_errors(Device device, DType dtype, std::unique_ptr<RunSetup> setup) {
  GoldenRun run(std::move(setup));
  ViewBatch batch = golden_batch(Device::cpu);
  batch.global = images_on(batch.global, dtype, device);
  batch.local = images_on(batch.local, dtype, device);
  const StepFigures figures = run.step.run_on(0, batch);
  TrainingState gradient;
  gradient.add_array("", run.model->arena(), run.step.gradient());
  const SafetensorsFile expected(test::data_folder() + "/golden/cdcl_gradients.safetensors");
  GradientErrors errors;
  double squares = 0;
  size_t compared = 0;
  for (const NamedTensor& t : gradient.optimizer_tensors()) {
    const std::vector<double> ours = test::as_doubles(t.values);
    if (t.name.ends_with("weight_g")) {  // fixed at 1
      EXPECT_THAT(ours, testing::Each(0.0)) << t.name;
      continue;
    }
    const std::vector<float> theirs = expected.values<float>(t.name);
    EXPECT_EQ(ours.size(), theirs.size()) << t.name;
    double difference = 0, largest = 0;
    for (size_t i = 0; i < theirs.size(); ++i) {
      const double g = static_cast<double>(theirs[i]);
      // A NaN must not get lost in a maximum.
      difference = std::abs(ours[i] - g) <= difference ? difference : std::abs(ours[i] - g);
      largest = std::max(largest, std::abs(g));
      squares += g * g;
    }
    EXPECT_GT(largest, 0) << t.name;
    if (!(difference / largest <= errors.worst)) {
      errors.worst = difference / largest;
      errors.worst_name = t.name;
    }
    ++compared;
  }
  EXPECT_EQ(compared, expected.entries().size());
  errors.norm = figures.gradient_norm / std::sqrt(squares) - 1;
  return errors;
}

// Bounds are twice what PyTorch's own f32 and bf16 autocast miss its f64 by (cdcl_step.py prints
// it: 2.2e-6; 5.6e-2 and 7.5e-3 of the norm).
void expect_gradients(const GradientErrors& f32, const GradientErrors& bf16) {
  testing::Test::RecordProperty("f32", fmt::format("{:.2g} {}", f32.worst, f32.worst_name));
  testing::Test::RecordProperty("bf16", fmt::format("{:.2g} {}", bf16.worst, bf16.worst_name));
  testing::Test::RecordProperty("norms", fmt::format("{:.2g} {:.2g}", f32.norm, bf16.norm));
  EXPECT_LE(f32.worst, 4.4e-6) << f32.worst_name;
  EXPECT_NEAR(f32.norm, 0, 2e-6);
  EXPECT_LE(bf16.worst, 0.112) << bf16.worst_name;
  EXPECT_NEAR(bf16.norm, 0, 0.015);
}

TEST_F(SelfSupervisedStepTest, EveryGradientOfCdclEqualsPyTorchs) {
  std::vector<std::string> sets = golden_sets();
  const GradientErrors f32 = gradient_errors(Device::cpu, DType::f32, setup("cdcl", sets));
  sets.push_back("train.precision=bf16");
  expect_gradients(f32, gradient_errors(Device::cpu, DType::bf16, setup("cdcl", sets)));
}

TEST_F(SelfSupervisedStepTest, EveryGradientOfCdclEqualsPyTorchsOnTheGpu) {
  std::string why;
  if (!gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why;
#ifdef MONO_SANITIZED
  GTEST_SKIP()
      << "minutes on the emulator under a sanitizer; the step itself runs in the next test";
#endif
  std::vector<std::string> sets = golden_sets();
  const GradientErrors f32 = gradient_errors(kGpu, DType::f32, setup("cdcl", sets, kGpu));
  sets.push_back("train.precision=bf16");
  expect_gradients(f32, gradient_errors(kGpu, DType::bf16, setup("cdcl", sets, kGpu)));
}

TEST_F(SelfSupervisedStepTest, TwoStepsOfCdclEqualPyTorch) {
  run_golden(Device::cpu, 2e-5, setup("cdcl", golden_sets()));
}

TEST_F(SelfSupervisedStepTest, TwoStepsOfCdclEqualPyTorchOnTheGpu) {
  std::string why;
  if (!gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why;
  run_golden(kGpu, 5e-5, setup("cdcl", golden_sets(), kGpu));
}

// ---- runs -------------------------------------------------------------------------------------

std::string weights_of(const fs::path& run) {
  return test::read_text(list_checkpoints(run).front() / "model.safetensors") +
         test::read_text(list_checkpoints(run).front() / "optimizer.safetensors");
}

TEST_F(SelfSupervisedStepTest, ResumedInTheMiddleOfAnEpochEndsWithTheSameBits) {
  for (const char* recipe : {"cdcl", "ssl-byol-cb", "supervised"}) {
    test::TempDir dir;
    const std::vector<std::string> sets = {"train.epochs=2", "checkpoint.every_steps=5",
                                           "checkpoint.every_epochs=0",
                                           "ssl.freeze_last_layer_epochs=1"};
    ASSERT_EQ(run_train(options(dir / "whole", recipe, sets)), 0) << recipe;
    fs::copy(dir / "whole", dir / "cut", fs::copy_options::recursive);
    fs::remove_all(list_checkpoints(dir / "cut").front());  // the last one: goes on from step 15
    TrainOptions again = options(dir / "cut", recipe, sets);
    again.sets.push_back("loader.workers=0");
    again.resume = true;
    ASSERT_EQ(run_train(again), 0) << recipe;
    EXPECT_EQ(weights_of(dir / "cut"), weights_of(dir / "whole")) << recipe;
  }
}

TEST_F(SelfSupervisedStepTest, ChoosesTheCheckpointByValidation) {
  test::TempDir dir;
  ASSERT_EQ(run_train(options(dir / "run", "ssl-dino",
                              {"data.validation_experiments=1", "train.epochs=4",
                               "validation.every_epochs=1", "validation.k=3"})),
            0);
  const std::string rows = test::read_text(dir / "run" / "validation.jsonl");
  EXPECT_EQ(std::ranges::count(rows, '\n'), 4);
  const LoadedCheckpoint newest = load_last_checkpoint(dir / "run");
  const int64_t best = newest.state["more"]["validation"]["best_step"].integer();
  EXPECT_GT(best, 0);
  EXPECT_TRUE(fs::exists(dir / "run" / "ckpt" / fmt::format("step_{:08}", best)));
  EvaluateOptions evaluate;
  evaluate.run = dir / "run";
  evaluate.compute.device = "cpu";
  ASSERT_EQ(run_evaluate(evaluate), 0);
  const JsonView json = read_json_file((dir / "run" / "evaluation" / "views.json").string());
  EXPECT_EQ(json["step"].integer(), best);
  EXPECT_EQ(json["images"].integer(), 16);
  EXPECT_EQ(json["bank_images"].integer(), 32);
}

// Raises the limit on file sizes again: the next write has room.
rlimit unlimited{};
extern "C" void make_room(int) {
  ::setrlimit(RLIMIT_FSIZE, &unlimited);
}

struct ValidationRow {
  int64_t step;
  double accuracy;
};
std::vector<ValidationRow> validations_of(const fs::path& run) {
  std::istringstream lines(test::read_text(run / "validation.jsonl"));
  std::vector<ValidationRow> rows;
  for (std::string line; std::getline(lines, line);) {
    const JsonView row = parse_json(line, "validation.jsonl");
    rows.push_back({row["step"].integer(), row["knn_accuracy"].number()});
  }
  return rows;
}
int64_t best_of(const fs::path& run) {
  return load_last_checkpoint(run).state["more"]["validation"]["best_step"].integer();
}

// Replaces the images of HUVEC-03 by ones whose class is hard to see.
void blur_classes(const fs::path& screen) {
  constexpr int kSide = 20;
  const Dataset dataset = open_dataset(screen);
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    if (dataset.experiments[static_cast<size_t>(site.experiment)] != "HUVEC-03") continue;
    for (int channel = 1; channel <= 6; ++channel) {
      Philox noise(11, Purpose::test, static_cast<uint32_t>(channel), static_cast<uint32_t>(i));
      std::vector<uint8_t> pixels;
      for (int y = 0; y < kSide; ++y)
        for (int x = 0; x < kSide; ++x) {
          const bool bright = (y < kSide / 2 ? 0 : 2) + (x < kSide / 2 ? 0 : 1) < site.sirna_id;
          pixels.push_back(static_cast<uint8_t>(
              std::clamp(100 + (bright ? 4 : 0) + 12 * noise.normal(), 0.0, 255.0)));
        }
      write_png(screen / "images/HUVEC-03" / fmt::format("Plate{}", site.plate) /
                    fmt::format("{}_s{}_w{}.png", site.well, site.site, channel),
                {kSide, kSide, 1}, pixels.data(), 1);
    }
  }
}

// The disk is full while a new best is saved: training goes on, what was best before stays it and
// stays on the disk; resumed from before that step, the run chooses as an undisturbed one does.
TEST_F(SelfSupervisedStepTest, ABestCheckpointThatMeetsAFullDiskIsNotTheBest) {
  test::TempDir dir, screen;
  test::write_tiny_screen(screen.path());
  blur_classes(screen.path());
  const auto train = [&](const fs::path& out, const std::vector<std::string>& more) {
    std::vector<std::string> sets = {"data.validation_experiments=1", "train.epochs=5",
                                     "validation.every_epochs=1", "validation.k=3"};
    sets.insert(sets.end(), more.begin(), more.end());
    TrainOptions run = options(out, "ssl-dino", sets);
    run.data = screen.path();
    run.resume = true;
    return run_train(run);
  };
  std::vector<ValidationRow> rows;
  size_t better = 0;  // the first validation that beats what was before it
  std::string seed;
  for (int s = 1; s <= 9 && better == rows.size(); ++s) {
    fs::remove_all(dir / "whole");
    seed = fmt::format("seed={}", s);
    ASSERT_EQ(train(dir / "whole", {"checkpoint.keep=9", seed}), 0);
    rows = validations_of(dir / "whole");
    better = 1;
    while (better < rows.size() && rows[better].accuracy <= rows[0].accuracy) ++better;
  }
  ASSERT_LT(better, rows.size()) << "no validation was better than the first one";
  int64_t best = rows[0].step;  // of all others: the first of equals
  double most = rows[0].accuracy;
  for (size_t i = better + 1; i < rows.size(); ++i)
    if (rows[i].accuracy > most) {
      best = rows[i].step;
      most = rows[i].accuracy;
    }

  const fs::path full = dir / "full";
  fs::copy(dir / "whole", full, fs::copy_options::recursive);
  for (const fs::path& checkpoint : list_checkpoints(full))
    if (checkpoint.filename() >= fmt::format("step_{:08}", rows[better].step))
      fs::remove_all(checkpoint);
  ASSERT_EQ(best_of(full), rows[0].step);
  testing::internal::CaptureStdout();  // outside of the test it may be a long file
  testing::internal::CaptureStderr();
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &unlimited), 0);
  const auto before = std::signal(SIGXFSZ, make_room);
  rlimit limit = unlimited;
  limit.rlim_cur = 50'000;  // less than the weights, more than the log
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  const int code = train(full, {"checkpoint.every_epochs=0", seed});
  const std::string warning = testing::internal::GetCapturedStderr();
  testing::internal::GetCapturedStdout();
  make_room(0);
  std::signal(SIGXFSZ, before);
  EXPECT_EQ(code, 0);
  EXPECT_THAT(warning, HasSubstr(fmt::format("step {} could not be saved", rows[better].step)));
  EXPECT_EQ(weights_of(full), weights_of(dir / "whole"));
  EXPECT_EQ(validations_of(full).size(), rows.size());
  EXPECT_EQ(best_of(full), best);
  EXPECT_NO_THROW(load_checkpoint_of(full, best));

  // Interrupted after the full disk: from the checkpoint before it, that validation is made again.
  fs::copy(dir / "whole", dir / "again", fs::copy_options::recursive);
  for (const fs::path& checkpoint : list_checkpoints(dir / "again"))
    if (checkpoint.filename() >= fmt::format("step_{:08}", rows[better].step))
      fs::remove_all(checkpoint);
  ASSERT_EQ(train(dir / "again", {seed}), 0);
  EXPECT_EQ(weights_of(dir / "again"), weights_of(dir / "whole"));
  EXPECT_EQ(best_of(dir / "again"), best_of(dir / "whole"));
}

// Validation and test experiments have no centre to move, and none is asked for: only training
// images are centred.
TEST_F(SelfSupervisedStepTest, ADomainAbsentFromTrainingIsValidatedAllTheSame) {
  test::TempDir dir;
  ASSERT_EQ(run_train(options(dir / "run", "cdcl",
                              {"data.validation_experiments=1", "validation.every_epochs=1"})),
            0);
  EXPECT_EQ(validations_of(dir / "run").size(), 1u);
  const LoadedCheckpoint last = load_last_checkpoint(dir / "run");
  const std::vector<float> centres = last.optimizer.values<float>("centres");
  ASSERT_EQ(centres.size(), 4u * 20);  // HUVEC-01, -02: training; -03: validation; -04: test
  const auto moved = [&](size_t domain) {
    return std::any_of(centres.begin() + static_cast<ptrdiff_t>(domain * 20),
                       centres.begin() + static_cast<ptrdiff_t>(domain * 20 + 20),
                       [](float value) { return value != 0; });
  };
  EXPECT_TRUE(moved(0) && moved(1));
  EXPECT_FALSE(moved(2) || moved(3));
}

TEST_F(SelfSupervisedStepTest, ACollapsedRunEndsWithTheReason) {
  test::TempDir dir;
  try {
    run_train(options(dir / "run", "ssl-dino",
                      {"collapse.after_epochs=0", "collapse.patience=3", "collapse.least_sd=100"}));
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.exit_code(), 4);
    EXPECT_THAT(error.what(), HasSubstr("collapsed at step 3"));
    EXPECT_THAT(error.what(), HasSubstr("collapse.least_sd"));
  }
}

// Without DINO's loss its softmax is nobody's aim, and its entropy ends no run.
TEST_F(SelfSupervisedStepTest, TheBarlowLossAloneIsNotJudgedByASoftmax) {
  const std::vector<std::string> strict = {"collapse.after_epochs=0", "collapse.patience=1",
                                           "collapse.most_entropy=0.001"};
  const auto run = [&](const std::string& recipe) {
    test::TempDir dir;
    return run_train(options(dir / "run", recipe, strict));
  };
  EXPECT_EQ(run("ssl-dino-bl"), 0);
  EXPECT_THROW(run("ssl-dino"), Error);
}

TEST_F(SelfSupervisedStepTest, TheProbeDoesNotTouchTheNetwork) {
  const auto weights = [&](const std::string& enabled) {
    const auto s = setup("ssl-dino", {"probe.enabled=" + enabled});
    const std::unique_ptr<Model> model = make_model(*s);
    const std::unique_ptr<TrainStep> step = make_train_step(*s, *model);
    step->start(0, 2, 0);
    for (int64_t i = 0; i < 2; ++i) step->run(i);
    const std::span<const float> values = model->arena().weights().span<float>();
    return std::vector<float>(values.begin(), values.end());
  };
  EXPECT_EQ(weights("true"), weights("false"));
}

TEST_F(SelfSupervisedStepTest, ATableOfLabelsGivesTheClasses) {
  test::TempDir dir;
  std::string table = "treatment,label\n";
  int row = 0;
  const std::vector<std::string> treatments = setup("supervised")->class_names;
  for (const std::string& name : treatments)
    table += fmt::format("{},{}\n", name, row++ % 2 ? "odd" : "even");
  test::write_text(dir / "labels.csv", table);
  const auto s = setup("supervised", {"data.labels=" + (dir / "labels.csv").string()});
  EXPECT_THAT(s->class_names, testing::ElementsAre("even", "odd"));
  EXPECT_EQ(s->classes, 2);
  for (const int site : s->split.train)
    EXPECT_EQ(s->label[static_cast<size_t>(site)],
              s->dataset.sites[static_cast<size_t>(site)].sirna_id % 2);
}

// ---- groups -----------------------------------------------------------------------------------

// Where no statistics are taken over a batch, or Barlow's over all groups of it, the mean over
// groups of anchors is the whole batch's.
TEST_F(SelfSupervisedStepTest, GroupsOfAStepAddUpToTheWholeBatch) {
  struct Outcome {
    StepFigures figures;
    std::vector<float> gradient, centres;
  };
  const auto one_step = [&](const std::string& recipe, const char* groups,
                            const char* global = "true") {
    const auto s = setup(recipe, {std::string("batch.groups=") + groups, "model.drop_path=0.0",
                                  std::string("ssl.barlow_global=") + global});
    const std::unique_ptr<Model> model = make_model(*s);
    const std::unique_ptr<TrainStep> step = make_train_step(*s, *model);
    step->start(0, 1, 0);
    Outcome outcome{*step->run(0), {}, {}};
    const std::span<const float> sum =
        dynamic_cast<const ViewsStep&>(*step).gradient().span<float>();
    for (const float g : sum) outcome.gradient.push_back(g / std::stof(groups));
    for (const NamedTensor& t : step->state().optimizer_tensors())
      if (t.name == "centres")
        outcome.centres.assign(t.values.span<float>().begin(), t.values.span<float>().end());
    return outcome;
  };
  const auto worst = [](const std::vector<float>& a, const std::vector<float>& b) {
    float difference = 0, largest = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      difference = std::max(difference, std::abs(a[i] - b[i]));
      largest = std::max(largest, std::abs(a[i]));
    }
    return largest > 0 ? difference / largest : difference;
  };
  for (const char* recipe : {"supervised", "ssl-dino", "cdcl"}) {
    const Outcome whole = one_step(recipe, "1");
    for (const char* groups : {"2", "3"}) {
      const Outcome parts = one_step(recipe, groups);
      EXPECT_NEAR(parts.figures.loss, whole.figures.loss, 1e-5 * whole.figures.loss) << recipe;
      EXPECT_NEAR(parts.figures.gradient_norm, whole.figures.gradient_norm,
                  1e-5 * whole.figures.gradient_norm);
      EXPECT_EQ(parts.figures.accuracy, whole.figures.accuracy);
      EXPECT_LT(worst(whole.gradient, parts.gradient), 1e-5) << recipe << " in " << groups;
      ASSERT_EQ(parts.centres.size(), whole.centres.size());
      EXPECT_LT(worst(whole.centres, parts.centres), 1e-5) << recipe << " in " << groups;
    }
  }
  const Outcome whole = one_step("cdcl", "1"), each = one_step("cdcl", "3", "false");
  EXPECT_GT(worst(whole.gradient, each.gradient), 1e-3) << "Barlow's statistics are a group's";
}

// Batch norms see a group alone; the running statistics follow the mean over groups and views.
TEST_F(SelfSupervisedStepTest, BatchNormsOfByolSeeTheirGroupAlone) {
  const auto state_after_a_step = [&](const char* groups) {
    const auto s =
        setup("ssl-byol", {std::string("batch.groups=") + groups, "model.drop_path=0.0"});
    const std::unique_ptr<Model> model = make_model(*s);
    const std::unique_ptr<TrainStep> step = make_train_step(*s, *model);
    step->start(0, 1, 0);
    const double loss = step->run(0)->loss;
    const std::span<const float> mean = model->running().mean().span<float>();
    return std::pair(loss, std::vector<float>(mean.begin(), mean.end()));
  };
  const auto [whole_loss, whole_mean] = state_after_a_step("1");
  const auto [loss, mean] = state_after_a_step("3");
  EXPECT_GT(std::abs(loss - whole_loss), 1e-3 * whole_loss) << "statistics of all six anchors";
  // The first layer's input does not depend on the grouping: equal groups, the same mean.
  ASSERT_FALSE(mean.empty());
  EXPECT_NEAR(mean[0], whole_mean[0], 1e-5 * std::abs(whole_mean[0]) + 1e-6);
}

TEST_F(SelfSupervisedStepTest, GroupsMustPartTheAnchors) {
  EXPECT_THROW(setup("cdcl", {"batch.groups=4"}), Error) << "6 anchors";
  EXPECT_THROW(setup("cdcl", {"batch.groups=6"}), Error) << "groups of one pair";
  EXPECT_NO_THROW(setup("cdcl", {"batch.groups=3"}));
  EXPECT_EQ(setup("cdcl")->recipe.batch.groups, 1) << "where nothing is said: one GPU";
}

// ---- what is wrong before training starts -----------------------------------------------------

TEST_F(SelfSupervisedStepTest, RefusesBeforeTrainingStarts) {
  test::TempDir dir;
  const auto refused = [&](const std::string& recipe, const std::vector<std::string>& sets,
                           const fs::path& data) -> std::pair<int, std::string> {
    try {
      TrainOptions bad = options(dir / "run", recipe, sets);
      bad.data = data;
      run_train(bad);
    } catch (const Error& error) {
      return {error.exit_code(), error.what()};
    }
    return {0, ""};
  };
  // One image a batch.
  EXPECT_EQ(refused("cdcl", {"batch.anchors=1"}, screen_->path()).first, 2);
  // No partner in another domain: one experiment is left to train on.
  const auto [code, text] = refused("cdcl", {"data.train_experiments=1"}, screen_->path());
  EXPECT_EQ(code, 3);
  EXPECT_THAT(text, HasSubstr("domain"));
  // More anchors than images.
  EXPECT_EQ(refused("cdcl", {"batch.anchors=500"}, screen_->path()).first, 2);
  // A plate without controls.
  test::TempDir screen;
  test::write_tiny_screen(screen.path());
  for (const char* well : {"B05"})
    for (int site = 1; site <= 2; ++site)
      for (int channel = 1; channel <= 6; ++channel)
        fs::remove(screen.path() / "images/HUVEC-02/Plate2" /
                   fmt::format("{}_s{}_w{}.png", well, site, channel));
  const auto [no_controls, which] = refused("cdcl", {}, screen.path());
  EXPECT_EQ(no_controls, 3);
  EXPECT_THAT(which, HasSubstr("HUVEC-02"));
  // A table of labels for other treatments.
  test::write_text(dir / "labels.csv", "treatment,label\nno such treatment,a\n");
  const auto [no_match, other] =
      refused("cdcl", {"data.labels=" + (dir / "labels.csv").string()}, screen_->path());
  EXPECT_EQ(no_match, 3);
  EXPECT_THAT(other, HasSubstr("labels.csv:2: treatment 'no such treatment' is not one of"));
  EXPECT_EQ(refused("cdcl", {"data.labels=x.csv", "data.target=moa"}, screen_->path()).first, 2);
  // ImageNet weights that are not there.
  EXPECT_EQ(refused("cdcl", {"model.pretrained=true"}, screen_->path()).first, 2);
  EXPECT_EQ(refused("cdcl", {"model.init_from=/nowhere"}, screen_->path()).first, 3);
  EXPECT_EQ(refused("cdcl", {"model.from_scratch=true", "model.weights=w"}, screen_->path()).first,
            2);
}

}  // namespace
}  // namespace mono
