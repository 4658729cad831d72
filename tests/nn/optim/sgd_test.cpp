// SGD against torch.optim.SGD's formula, the schedule against its own, norms of flat arrays.
#include "nn/optim/sgd.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "nn/optim/flat_norm.h"
#include "nn/optim/schedule.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::normal_tensor;

void add_layers(ParameterArena& arena) {
  arena.add("conv", {3, 3, 3, 2}, Init::kaiming_normal_fan_in);
  arena.add("norm.weight", {70}, Init::ones, true);
  arena.add("norm.bias", {70}, Init::zeros, true);
  arena.add("fc.weight", {4, 5}, Init::linear_uniform);
  arena.add("fc.bias", {4}, Init::linear_uniform, true, 5);
  arena.allocate(DType::f64);
  test::randomise(arena);
}

class SgdRule : public testing::TestWithParam<SgdOptions> {};

TEST_P(SgdRule, FollowsTheFormulaOfEveryParameter) {
  const SgdOptions options = GetParam();
  ParameterArena arena;
  add_layers(arena);
  const Tensor start = arena.new_array();
  std::ranges::copy(arena.weights().span<double>(), start.data<double>());
  std::vector<double> expected(start.span<double>().begin(), start.span<double>().end());
  std::vector<double> momentum(expected.size(), 0.0);

  Sgd optimiser(arena, options);
  const uint64_t version = arena.version();
  for (uint32_t step = 0; step < 4; ++step) {
    const Tensor gradients = arena.new_array();
    for (const Parameter& p : arena.parameters())
      std::ranges::copy(
          normal_tensor(p.shape, 10 * step + static_cast<uint32_t>(p.index)).span<double>(),
          arena.view(gradients, p).data<double>());
    const double lr = 0.1 / (1 + step), scale = 0.125;
    optimiser.step(gradients, lr, scale);
    for (const Parameter& p : arena.parameters()) {
      const bool decays = options.decay_norm_and_bias || !p.is_norm_or_bias;
      for (int64_t i = p.offset; i < p.offset + p.elements(); ++i) {
        const double g =
            scale * gradients.data<double>()[i] + (decays ? options.weight_decay : 0) * expected[i];
        momentum[i] = options.momentum * momentum[i] + g;
        expected[i] -= lr * (options.nesterov ? g + options.momentum * momentum[i] : momentum[i]);
      }
    }
  }
  for (const Parameter& p : arena.parameters())
    for (int64_t i = p.offset; i < p.offset + p.elements(); ++i) {
      EXPECT_NEAR(arena.weights().data<double>()[i], expected[i], 1e-13) << p.name;
      EXPECT_NEAR(optimiser.momentum().data<double>()[i], momentum[i], 1e-13) << p.name;
    }
  EXPECT_EQ(arena.version(), version + 4);
}

INSTANTIATE_TEST_SUITE_P(
    Options, SgdRule,
    testing::Values(SgdOptions{.momentum = 0}, SgdOptions{.momentum = 0.9},
                    SgdOptions{.momentum = 0.9, .weight_decay = 0.05},
                    SgdOptions{.momentum = 0.9, .weight_decay = 0.05, .nesterov = true},
                    SgdOptions{.weight_decay = 0.05, .decay_norm_and_bias = false},
                    SgdOptions{
                        .weight_decay = 0.05, .nesterov = true, .decay_norm_and_bias = false}));

TEST(Schedule, WarmsUpLinearlyThenFollowsTheCosine) {
  const LearningRateSchedule schedule{.lr = 0.8, .warmup_steps = 4, .total_steps = 12};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.8);
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.8);
  EXPECT_DOUBLE_EQ(schedule.at(8), 0.4);
  EXPECT_NEAR(schedule.at(11), 0.4 * (1 + std::cos(7 * std::acos(-1.0) / 8)), 1e-15);
  const LearningRateSchedule constant{
      .lr = 0.8, .warmup_steps = 2, .total_steps = 12, .cosine = false};
  EXPECT_DOUBLE_EQ(constant.at(0), 0.4);
  EXPECT_DOUBLE_EQ(constant.at(11), 0.8);
}

TEST(FlatNorm, IsEuclideanAndTellsWhereItBreaks) {
  ParameterArena arena;
  add_layers(arena);
  const Tensor array = arena.new_array();
  EXPECT_EQ(flat_norm(array), 0.0);
  arena.view(array, *arena.find("conv")).data<double>()[7] = 3;
  arena.view(array, *arena.find("fc.bias")).data<double>()[3] = -4;
  EXPECT_DOUBLE_EQ(flat_norm(array), 5.0);
  EXPECT_EQ(first_not_finite(arena, array), nullptr);
  arena.view(array, *arena.find("conv")).data<double>()[0] = INFINITY;
  arena.view(array, *arena.find("norm.bias")).data<double>()[69] =
      std::numeric_limits<double>::quiet_NaN();
  EXPECT_TRUE(std::isnan(flat_norm(array)));
  EXPECT_EQ(first_not_finite(arena, array)->name, "norm.bias") << "backward finishes it first";
}

}  // namespace
}  // namespace mono
