// Which parameters AdamW decays, freezes and leaves alone; the teacher's average; schedules.
// PyTorch's own numbers: tests/models/optimisers_golden_test.cpp.
#include "nn/optim/adamw.h"

#include <gtest/gtest.h>

#include <cmath>

#include "nn/optim/ema.h"
#include "nn/optim/flat_norm.h"
#include "nn/optim/schedule.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::normal_tensor;

void add_student(ParameterArena& arena, bool predictor) {
  arena.add("cls_token", {1, 1, 6}, Init::linear_uniform);
  arena.add("fc.weight", {4, 6}, Init::linear_uniform);
  arena.add("fc.bias", {4}, Init::linear_uniform, true, 6);
  arena.add("norm.weight", {70}, Init::ones, true);
  arena.add("table.bias", {3, 5}, Init::linear_uniform);  // two dimensions, but a bias
  arena.add("last.weight_g", {9, 1}, Init::ones);
  arena.add("last.weight_v", {9, 4}, Init::linear_uniform);
  if (predictor) arena.add("predictor.weight", {5, 9}, Init::linear_uniform);
  arena.allocate(DType::f64);
  test::randomise(arena);
}

Tensor gradients_of(const ParameterArena& arena, uint32_t step) {
  const Tensor gradients = arena.new_array();
  for (const Parameter& p : arena.parameters())
    arena.view(gradients, p)
        .copy_from(normal_tensor(p.shape, 100 * step + static_cast<uint32_t>(p.index)));
  return gradients;
}

double value(const ParameterArena& arena, const char* name) {
  return arena.view(arena.weights(), *arena.find(name)).data<double>()[0];
}

TEST(AdamW, DecaysMatricesAndTokensAndSparesVectorsAndBiases) {
  ParameterArena arena;
  add_student(arena, false);
  std::map<std::string, double> before;
  for (const Parameter& p : arena.parameters()) before[p.name] = value(arena, p.name.c_str());
  AdamW optimiser(arena, {.fixed = [](const Parameter& p) { return p.name == "last.weight_g"; }});
  optimiser.step(arena.new_array(), {.lr = 0.5, .weight_decay = 0.5});
  for (const Parameter& p : arena.parameters()) {
    const bool spared = p.name == "fc.bias" || p.name == "norm.weight" || p.name == "table.bias" ||
                        p.name == "last.weight_g";
    EXPECT_DOUBLE_EQ(value(arena, p.name.c_str()), before[p.name] * (spared ? 1 : 0.75)) << p.name;
  }
}

TEST(AdamW, AFrozenLayerKeepsWeightsMomentsAndItsStepCount) {
  const auto last = [](const Parameter& p) { return p.name.starts_with("last."); };
  ParameterArena frozen, late;
  add_student(frozen, false);
  add_student(late, false);
  AdamW first(frozen, {.freezable = last}), second(late, {});
  const double start = value(frozen, "last.weight_v");
  first.step(gradients_of(frozen, 0), {.lr = 0.1, .weight_decay = 0.1, .frozen = true});
  first.step(gradients_of(frozen, 1), {.lr = 0.1, .weight_decay = 0.1, .frozen = true});
  EXPECT_EQ(value(frozen, "last.weight_v"), start);
  EXPECT_EQ(first.counts().always, 2);
  EXPECT_EQ(first.counts().freezable, 0);
  // Thawed, it goes like a layer at its first step.
  first.step(gradients_of(frozen, 2), {.lr = 0.1, .weight_decay = 0.1});
  second.step(gradients_of(late, 2), {.lr = 0.1, .weight_decay = 0.1});
  EXPECT_EQ(value(frozen, "last.weight_v"), value(late, "last.weight_v"));
  EXPECT_NE(value(frozen, "fc.weight"), value(late, "fc.weight"));
}

TEST(AdamW, GoesOnFromItsState) {
  ParameterArena one, other;
  add_student(one, true);
  add_student(other, true);
  AdamW optimiser(one, {.max_norm = 3});
  for (uint32_t step = 0; step < 3; ++step)
    optimiser.step(gradients_of(one, step), {.lr = 0.1, .weight_decay = 0.1});
  other.weights().copy_from(one.weights());
  AdamW resumed(other, {.max_norm = 3});
  resumed.first_moment().copy_from(optimiser.first_moment());
  resumed.second_moment().copy_from(optimiser.second_moment());
  resumed.restore(optimiser.counts());
  optimiser.step(gradients_of(one, 3), {.lr = 0.1, .weight_decay = 0.1});
  resumed.step(gradients_of(one, 3), {.lr = 0.1, .weight_decay = 0.1});
  EXPECT_TRUE(std::ranges::equal(one.weights().span<double>(), other.weights().span<double>()));
  EXPECT_DOUBLE_EQ(resumed.gradient_norm().data<double>()[0], flat_norm(gradients_of(one, 3)));
}

TEST(Ema, AveragesWhatTheTeacherHas) {
  ParameterArena student, teacher;
  add_student(student, true);  // the predictor shifts everything else
  add_student(teacher, false);
  Ema ema(teacher, student);
  ema.copy();
  for (const Parameter& p : teacher.parameters())
    EXPECT_EQ(value(teacher, p.name.c_str()), value(student, p.name.c_str())) << p.name;
  student.weights().copy_from(gradients_of(student, 7));
  const uint64_t version = teacher.version();
  const Tensor before = teacher.new_array();
  before.copy_from(teacher.weights());
  ema.update(0.75);
  for (const Parameter& p : teacher.parameters()) {
    const Tensor from = student.view(student.weights(), *student.find(p.name));
    const Tensor old = teacher.view(before, p), now = teacher.view(teacher.weights(), p);
    for (int64_t i = 0; i < p.elements(); ++i)
      EXPECT_NEAR(now.data<double>()[i],
                  0.75 * old.data<double>()[i] + 0.25 * from.data<double>()[i], 1e-15)
          << p.name;
  }
  EXPECT_EQ(teacher.version(), version + 1);
}

TEST(Ema, RefusesAParameterThatTheStudentLacks) {
  ParameterArena student, teacher, other;
  add_student(student, false);
  add_student(teacher, true);
  EXPECT_THROW(Ema(teacher, student), Error);
  other.add("fc.weight", {6, 4}, Init::zeros);
  other.allocate(DType::f64);
  EXPECT_THROW(Ema(other, student), Error) << "another shape";
}

// The published values of CDCL: 10 epochs of 427 steps of warm-up, 200 epochs.
TEST(CdclSchedules, AreThePublishedCodes) {
  const LearningRateSchedule lr{.lr = 7e-4,
                                .warmup_steps = 4270,
                                .total_steps = 85400,
                                .start = 1e-5,
                                .floor = 1e-5,
                                .overshoot = true};
  const double peak = 1e-5 + 4271.0 / 4270 * 6.9e-4;
  EXPECT_NEAR(lr.at(0), 1e-5 + 6.9e-4 / 4270, 1e-16);
  EXPECT_NEAR(lr.at(4269), 7e-4, 1e-16);
  EXPECT_NEAR(lr.at(4270), peak, 1e-16);
  EXPECT_NEAR(peak, 7.0016e-4, 1e-8);
  EXPECT_NEAR(lr.at(4270 + 81130 / 2), (peak + 1e-5) / 2, 1e-16);
  EXPECT_NEAR(lr.at(85400), 1e-5, 1e-16);
  const LearningRateSchedule plain{
      .lr = 1e-4, .warmup_steps = 1000, .total_steps = 5000, .floor = 1e-5};
  EXPECT_DOUBLE_EQ(plain.at(999), 1e-4);
  EXPECT_DOUBLE_EQ(plain.at(1000), 1e-4);
  EXPECT_NEAR(plain.at(3000), 5.5e-5, 1e-18);

  const CosineSchedule decay{4e-3, 1e-2, 85400}, momentum{0.995, 0.9996, 85400};
  EXPECT_DOUBLE_EQ(decay.at(0), 4e-3);
  EXPECT_NEAR(decay.at(42700), 7e-3, 1e-15);
  EXPECT_DOUBLE_EQ(momentum.at(85400), 0.9996);
  const WarmRestartSchedule restarts{5e-5, 1e-8, 427};
  EXPECT_DOUBLE_EQ(restarts.at(0), 5e-5);
  EXPECT_DOUBLE_EQ(restarts.at(427 * 5), 5e-5);
  EXPECT_LT(restarts.at(426), 2e-8);
  const TemperatureSchedule temperature;
  EXPECT_DOUBLE_EQ(temperature.at(0), 0.04);
  EXPECT_DOUBLE_EQ(temperature.at(3), 0.05);
  EXPECT_DOUBLE_EQ(temperature.at(9), 0.07);
  EXPECT_DOUBLE_EQ(temperature.at(150), 0.07);
  EXPECT_DOUBLE_EQ((TemperatureSchedule{0.04, 0.07, 0}.at(0)), 0.07);
}

}  // namespace
}  // namespace mono
