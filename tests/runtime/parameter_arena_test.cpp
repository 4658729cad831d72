// Layout, initialisation and gradient targets of the arena.
#include "runtime/parameter_arena.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

namespace mono {
namespace {

using testing::Each;
using testing::HasSubstr;

void add_layers(ParameterArena& arena) {
  arena.add("conv.weight", {8, 3, 3, 5}, Init::kaiming_normal_fan_in);
  arena.add("norm.weight", {8}, Init::ones, true);
  arena.add("norm.bias", {8}, Init::zeros, true);
  arena.add("fc.weight", {10, 8}, Init::linear_uniform);
  arena.add("fc.bias", {10}, Init::linear_uniform, true, 8);
}

TEST(ParameterArena, LaysParametersOutBackwardsAtMultiplesOf256Bytes) {
  for (const DType master : {DType::f32, DType::f64}) {
    ParameterArena arena;
    add_layers(arena);
    arena.allocate(master);
    int64_t end = 0;
    for (auto p = arena.parameters().rbegin(); p != arena.parameters().rend(); ++p) {
      EXPECT_EQ(p->offset * static_cast<int64_t>(size_of(master)) % 256, 0) << p->name;
      EXPECT_GE(p->offset, end) << p->name;
      EXPECT_LT(p->offset - end, 256) << p->name;
      end = p->offset + p->elements();
    }
    EXPECT_GE(arena.size(), end);
    EXPECT_EQ(arena.weights().elements(), arena.size());
    EXPECT_EQ(arena.parameters().back().offset, 0);
  }
}

TEST(ParameterArena, FindsByNameAndRefusesTheSameNameTwice) {
  ParameterArena arena;
  add_layers(arena);
  EXPECT_EQ(arena.find("fc.bias")->fan_in, 8);
  EXPECT_EQ(arena.find("fc"), nullptr);
  EXPECT_THROW(arena.add("fc.bias", {10}, Init::zeros), Error);
  arena.allocate(DType::f32);
  EXPECT_THROW(arena.add("late", {1}, Init::zeros), Error);
  ParameterArena half;
  half.add("w", {1}, Init::ones);
  EXPECT_THROW(half.allocate(DType::bf16), Error);
}

TEST(ParameterArena, InitialValuesDependOnSeedAndNameAlone) {
  ParameterArena full, alone, wide;
  add_layers(full);
  add_layers(wide);
  alone.add("fc.weight", {10, 8}, Init::linear_uniform);
  full.allocate(DType::f32);
  alone.allocate(DType::f32);
  wide.allocate(DType::f64);
  for (ParameterArena* arena : {&full, &alone, &wide}) arena->initialise(5);
  const auto of = [](const ParameterArena& arena, const char* name) {
    return arena.view(arena.weights(), *arena.find(name));
  };
  EXPECT_TRUE(std::ranges::equal(of(full, "fc.weight").span<float>(),
                                 of(alone, "fc.weight").span<float>()));
  for (const Parameter& p : full.parameters())  // f32 and f64 runs start from the same weights
    EXPECT_TRUE(std::ranges::equal(of(full, p.name.c_str()).span<float>(),
                                   of(wide, p.name.c_str()).span<double>()))
        << p.name;
  alone.initialise(6);
  EXPECT_FALSE(std::ranges::equal(of(full, "fc.weight").span<float>(),
                                  of(alone, "fc.weight").span<float>()));
}

TEST(ParameterArena, DrawsTorchvisionsDistributions) {
  ParameterArena arena;
  arena.add("in", {64, 3, 3, 32}, Init::kaiming_normal_fan_in);
  arena.add("out", {64, 3, 3, 32}, Init::kaiming_normal_fan_out);
  arena.add("fc.weight", {100, 64}, Init::linear_uniform);
  arena.add("fc.bias", {4000}, Init::linear_uniform, true, 64);
  arena.add("gamma", {70}, Init::ones);
  arena.add("beta", {70}, Init::zeros);
  arena.add("tokens", {100, 64}, Init::truncated_normal_02);
  arena.allocate(DType::f64);
  arena.initialise(1);
  const auto of = [&](const char* name) {
    return arena.view(arena.weights(), *arena.find(name)).span<double>();
  };
  const auto deviation = [&](const char* name) {
    double squares = 0;
    for (const double w : of(name)) squares += w * w;
    return std::sqrt(squares / static_cast<double>(of(name).size()));
  };
  EXPECT_NEAR(deviation("in"), std::sqrt(2.0 / (9 * 32)), 0.03 * std::sqrt(2.0 / (9 * 32)));
  EXPECT_NEAR(deviation("out"), std::sqrt(2.0 / (9 * 64)), 0.03 * std::sqrt(2.0 / (9 * 64)));
  EXPECT_NEAR(deviation("tokens"), 0.02, 0.03 * 0.02);
  for (const char* name : {"fc.weight", "fc.bias"}) {
    const auto [low, high] = std::ranges::minmax(of(name));
    EXPECT_GE(low, -0.125) << name;
    EXPECT_LE(high, 0.125) << name;
    EXPECT_LT(low, -0.12) << name;
    EXPECT_GT(high, 0.12) << name;
  }
  EXPECT_THAT(of("gamma"), Each(1.0));
  EXPECT_THAT(of("beta"), Each(0.0));
}

TEST(ParameterArena, TheFirstGradientOverwritesAndUnusedOnesAreCleared) {
  ParameterArena arena;
  add_layers(arena);
  arena.allocate(DType::f32);
  const Tensor array = arena.new_array();
  std::ranges::fill(array.span<float>(), 9.0f);  // recycled: full of an earlier step's values
  arena.begin_gradients(array);
  const Parameter& used = *arena.find("norm.weight");
  const auto first = arena.gradient(used);
  EXPECT_EQ(first.mode, GradMode::overwrite);
  EXPECT_EQ(first.tensor.shape(), used.shape);
  EXPECT_EQ(first.tensor.data<float>(), array.data<float>() + used.offset);
  EXPECT_EQ(arena.gradient(used).mode, GradMode::accumulate);
  arena.finish_gradients();
  for (const Parameter& p : arena.parameters())
    EXPECT_THAT(arena.view(array, p).span<float>(), Each(&p == &used ? 9.0f : 0.0f)) << p.name;

  arena.begin_gradients(array);
  EXPECT_EQ(arena.gradient(used).mode, GradMode::overwrite) << "a new backward pass starts afresh";
}

TEST(ParameterArena, GradientsNeedAnArrayOfTheArenasSize) {
  ParameterArena arena;
  add_layers(arena);
  arena.allocate(DType::f32);
  try {
    arena.gradient(*arena.find("fc.bias"));
    FAIL() << "a gradient without begin_gradients";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("without begin_gradients ('fc.bias')"));
  }
  EXPECT_THROW(arena.begin_gradients(Tensor::empty({3}, DType::f32)), Error);
}

TEST(ParameterArena, WritesBumpTheVersion) {
  ParameterArena arena;
  add_layers(arena);
  arena.allocate(DType::f32);
  const uint64_t before = arena.version();
  arena.initialise(1);
  EXPECT_EQ(arena.version(), before + 1);
}

}  // namespace
}  // namespace mono
