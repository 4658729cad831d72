// Five steps of AdamW with CDCL's schedules, clipping, a frozen layer and a teacher, and of the
// probe's Adam, against PyTorch: tools/golden/optimisers.py.
#include <gtest/gtest.h>

#include "nn/optim/adamw.h"
#include "nn/optim/ema.h"
#include "nn/optim/schedule.h"
#include "tests/models/formula.h"
#include "tests/paths.h"

namespace mono {
namespace {

constexpr int kSteps = 5, kFrozenSteps = 2;
constexpr double kScale[kSteps] = {0.1, 3.0, 1.0, 0.2, 5.0};

const SafetensorsFile& golden() {
  static const SafetensorsFile file(test::data_folder() + "/golden/optimisers.safetensors");
  return file;
}

void set_formula(ParameterArena& arena, DType master) {
  arena.allocate(master);
  for (const Parameter& p : arena.parameters()) {
    std::vector<int64_t> shape;
    for (int i = 0; i < p.shape.rank(); ++i) shape.push_back(p.shape[i]);
    test::assign(arena.view(arena.weights(), p), test::formula_values(p.name, shape));
  }
}

void add_network(ParameterArena& arena, DType master) {
  arena.add("fc.weight", {5, 7}, Init::zeros);
  arena.add("fc.bias", {5}, Init::zeros, true);
  arena.add("norm.weight", {7}, Init::zeros, true);
  arena.add("cls_token", {1, 1, 7}, Init::zeros);
  arena.add("last_layer.weight_v", {33, 5}, Init::zeros);
  set_formula(arena, master);
}

Tensor gradients_of(const ParameterArena& arena, int step) {
  const Tensor gradients = arena.new_array();
  for (const Parameter& p : arena.parameters()) {
    const test::FormulaStream stream(p.name + ".grad" + std::to_string(step));
    std::vector<double> values(static_cast<size_t>(p.elements()));
    for (size_t i = 0; i < values.size(); ++i)
      values[i] = static_cast<double>(
          static_cast<float>(kScale[step] * stream.uniform(static_cast<int64_t>(i))));
    test::assign(arena.view(gradients, p), values);
  }
  return gradients;
}

// Row `step` of the file's f64 array against the arena; in f32 with PyTorch's own f32 beside it.
void expect_row(const ParameterArena& arena, const std::string& name, int step) {
  const std::vector<double> want = golden().values<double>(name + "64");
  const std::vector<float> single = golden().values<float>(name + "32");
  size_t at = want.size() / kSteps * static_cast<size_t>(step);
  for (const Parameter& p : arena.parameters())
    for (const double got : test::as_doubles(arena.view(arena.weights(), p))) {
      const double theirs = std::abs(static_cast<double>(single[at]) - want[at]);
      const double bound = arena.master() == DType::f64 ? 1e-12 : std::max(2 * theirs, 3e-7);
      EXPECT_NEAR(got, want[at], bound) << name << " step " << step << " " << p.name;
      ++at;
    }
  EXPECT_EQ(at, want.size() / kSteps * static_cast<size_t>(step + 1));
}

class GoldenOptimiser : public testing::TestWithParam<DType> {};

TEST_P(GoldenOptimiser, FiveStepsOfAdamWWithSchedulesFollowPyTorch) {
  ParameterArena student, teacher;
  add_network(student, GetParam());
  add_network(teacher, GetParam());
  AdamW optimiser(student, {.max_norm = 3.0, .freezable = [](const Parameter& p) {
                              return p.name.starts_with("last_layer.");
                            }});
  Ema ema(teacher, student);
  const LearningRateSchedule lr{.lr = 7e-2,
                                .warmup_steps = 2,
                                .total_steps = 8,
                                .start = 1e-3,
                                .floor = 1e-3,
                                .overshoot = true};
  const CosineSchedule decay{0.4, 1.0, 8}, momentum{0.9, 0.9996, 8};
  for (int step = 0; step < kSteps; ++step) {
    const size_t row = static_cast<size_t>(step);
    EXPECT_NEAR(lr.at(step), golden().values<double>("lr")[row], 1e-16);
    EXPECT_NEAR(decay.at(step), golden().values<double>("decay")[row], 1e-15);
    EXPECT_NEAR(momentum.at(step + 1), golden().values<double>("momentum")[row], 1e-15);
    optimiser.step(
        gradients_of(student, step),
        {.lr = lr.at(step), .weight_decay = decay.at(step), .frozen = step < kFrozenSteps});
    ema.update(momentum.at(step + 1));
    EXPECT_NEAR(optimiser.gradient_norm().data<double>()[0], golden().values<double>("norm64")[row],
                1e-12);
    expect_row(student, "adamw", step);
    expect_row(teacher, "teacher", step);
  }
}

TEST_P(GoldenOptimiser, FiveStepsOfTheProbesAdamFollowPyTorch) {
  ParameterArena probe;
  probe.add("probe.weight", {3, 7}, Init::zeros);
  probe.add("probe.bias", {3}, Init::zeros, true);
  set_formula(probe, GetParam());
  AdamW optimiser(probe, {.decoupled = false});
  const WarmRestartSchedule lr{5e-2, 1e-8, 3};
  for (int step = 0; step < kSteps; ++step) {
    EXPECT_NEAR(lr.at(step), golden().values<double>("adam_lr")[static_cast<size_t>(step)], 1e-16);
    optimiser.step(gradients_of(probe, step), {.lr = lr.at(step), .weight_decay = 1e-1});
    expect_row(probe, "adam", step);
  }
}

INSTANTIATE_TEST_SUITE_P(Precisions, GoldenOptimiser, testing::Values(DType::f64, DType::f32),
                         [](const auto& info) { return std::string(name_of(info.param)); });

}  // namespace
}  // namespace mono
