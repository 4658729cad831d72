// DeiT: drop path, initial weights, refusals, and a training step on the GPU beside the CPU's. Its
// numbers are PyTorch's in golden_test.cpp.
#include "models/deit.h"

#include <gmock/gmock.h>

#include <numeric>

#include "kernels/base/philox.h"
#include "models/registry.h"
#include "models/weights.h"
#include "nn/functional/augmentation.h"
#include "nn/functional/cross_entropy.h"
#include "nn/optim/adamw.h"
#include "tests/kernels/gpu_test.h"
#include "tests/models/formula.h"

namespace mono {
namespace {

constexpr int kImages = 3, kSize = 32, kChannels = 5, kClasses = 7;

std::unique_ptr<Model> small_deit(DType master, Device device = Device::cpu) {
  const DeitConfig config{.dim = 32, .heads = 2, .depth = 2, .patch = 8, .grid = 3};
  auto model =
      make_model("cdcl_deit_smoke", {.channels = kChannels, .classes = kClasses, .deit = config});
  model->initialise(master, 3, device);
  return model;
}

// The table of 4 branches with `factor` for image 1 in the rows of `branches`, 1 elsewhere.
Tensor drop_path(std::initializer_list<int> branches, float factor) {
  const Tensor table = Tensor::empty({4, kImages}, DType::f32);
  std::ranges::fill(table.span<float>(), 1.0f);
  for (const int branch : branches) table.data<float>()[branch * kImages + 1] = factor;
  return table;
}

std::vector<double> logits(const Model& model, const Tensor& table) {
  const SegmentTable segments({0, kImages}, Device::cpu);
  ForwardContext context;
  context.segments = segments;
  context.drop_path = table;
  const Variable x(test::formula_images(kImages, kSize, kChannels, DType::f64));
  return test::as_doubles(model.forward(x, context).y.value());
}

TEST(Deit, DropPathLeavesABranchOfAnImageOut) {
  const auto model = small_deit(DType::f64);
  test::set_formula_weights(*model);
  const std::vector<double> whole = logits(*model, {});
  EXPECT_EQ(logits(*model, drop_path({}, 1)), whole);
  for (const auto& [branch, name] : {std::pair{0, "backbone.blocks.0.attn.proj"},
                                     {1, "backbone.blocks.0.mlp.fc2"},
                                     {2, "backbone.blocks.1.attn.proj"},
                                     {3, "backbone.blocks.1.mlp.fc2"}}) {
    const std::vector<double> dropped = logits(*model, drop_path({branch}, 0));
    // The same as a branch whose last layer gives zero, for this image alone.
    const auto cleared = small_deit(DType::f64);
    test::set_formula_weights(*cleared);
    for (const char* part : {".weight", ".bias"})
      cleared->arena()
          .view(cleared->arena().weights(), *cleared->arena().find(name + std::string(part)))
          .zero();
    cleared->arena().weights_changed();
    const std::vector<double> without = logits(*cleared, {});
    for (int n = 0; n < kImages; ++n)
      for (int k = 0; k < kClasses; ++k) {
        const size_t i = static_cast<size_t>(n * kClasses + k);
        EXPECT_NEAR(dropped[i], n == 1 ? without[i] : whole[i], 1e-12) << name;
      }
    EXPECT_NE(dropped, whole) << name;
  }
}

TEST(Deit, DropPathRatesGrowLinearlyWithDepth) {
  constexpr int kDepth = 12, kMany = 20000;
  Philox random(1, Purpose::test);
  const std::vector<float> factors = drop_path_factors(kDepth, 0.1, kMany, random);
  ASSERT_EQ(factors.size(), 2u * kDepth * kMany);
  for (int branch = 0; branch < 2 * kDepth; ++branch) {
    const double rate = 0.1 * (branch / 2) / (kDepth - 1);
    const std::span row(factors.data() + branch * kMany, kMany);
    const double dropped = static_cast<double>(std::ranges::count(row, 0.0f));
    EXPECT_NEAR(dropped / kMany, rate, 4 * std::sqrt(rate / kMany) + 1e-12) << branch;
    EXPECT_FLOAT_EQ(*std::ranges::max_element(row), static_cast<float>(1 / (1 - rate)));
  }
  EXPECT_THROW(drop_path_factors(kDepth, 1.0, 2, random), Error);
}

TEST(Deit, FreshWeightsFollowTheRules) {
  const auto model = make_model("deit_tiny", {.channels = 6, .classes = 50});
  model->initialise(DType::f32, 1);
  const auto deviation = [&](const char* name) {
    const Parameter& p = *model->arena().find(name);
    double squares = 0, largest = 0;
    for (int64_t i = 0; i < p.elements(); ++i) {
      squares += std::pow(p.weights<float>()[i], 2);
      largest = std::max(largest, std::abs(static_cast<double>(p.weights<float>()[i])));
    }
    return std::pair{std::sqrt(squares / static_cast<double>(p.elements())), largest};
  };
  for (const char* name :
       {"pos_embed", "blocks.3.attn.qkv.weight", "blocks.11.mlp.fc2.weight", "head.weight"})
    EXPECT_NEAR(deviation(name).first, 0.02, 0.001) << name;
  for (const char* name : {"blocks.3.attn.qkv.bias", "norm.bias", "head.bias"})
    EXPECT_EQ(deviation(name).second, 0) << name;
  EXPECT_EQ(deviation("blocks.5.norm2.weight").first, 1);
  const double bound = 1 / std::sqrt(6.0 * 256);  // torch.nn.Conv2d's default
  for (const char* name : {"patch_embed.proj.weight", "patch_embed.proj.bias"}) {
    EXPECT_LE(deviation(name).second, bound) << name;
    EXPECT_GE(deviation(name).second, 0.9 * bound) << name;
  }
}

TEST(Deit, RefusesImagesAndSizesThatDoNotFit) {
  const auto model = small_deit(DType::f64);
  for (const int size : {4, 36}) {
    const Variable x(Tensor::zeros({1, size, size, kChannels}, DType::f64));
    try {
      model->forward(x, {});
      FAIL() << size;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), testing::HasSubstr("multiples of its patch, 8 pixels"));
    }
  }
  EXPECT_THROW(make_model("deit_smoke", {.deit = DeitConfig{.dim = 33, .heads = 2}}), Error);
}

// Three AdamW steps with drop path: losses.
std::vector<double> losses_on(Device device, DType dtype) {
  const auto model = small_deit(DType::f32, device);
  const Tensor images =
      images_on(test::formula_images(kImages, kSize, kChannels, dtype), dtype, device);
  const Tensor targets = Tensor::zeros({kImages, kClasses}, DType::f32);
  for (int n = 0; n < kImages; ++n) targets.data<float>()[n * kClasses + 2 * n] = 1;
  const Tensor targets_there = targets.to(device), table = drop_path({1, 2}, 0).to(device);
  const SegmentTable segments({0, kImages}, device);
  AdamW optimiser(model->arena(), {.max_norm = 3});
  const Tensor gradients = model->arena().new_array();
  std::vector<double> losses;
  for (int step = 0; step < 3; ++step) {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    context.segments = segments;
    context.drop_path = table;
    losses.push_back(
        soft_cross_entropy(model->forward(Variable(images), context).y, targets_there, 1, context));
    model->arena().begin_gradients(gradients);
    tape.backward();
    model->arena().finish_gradients();
    optimiser.step(gradients, {.lr = 1e-3, .weight_decay = 0.05});
  }
  return losses;
}

TEST(DeitGpu, ATrainingStepIsTheCpus) {
  test::for_each_schedule([] {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const std::vector<double> cpu = losses_on(Device::cpu, dtype), gpu = losses_on(kGpu, dtype);
      EXPECT_LT(gpu[2], gpu[0]);
      for (size_t step = 0; step < cpu.size(); ++step)
        EXPECT_NEAR(gpu[step], cpu[step], dtype == DType::f32 ? 1e-4 : 2e-2) << step;
    }
  });
}

}  // namespace
}  // namespace mono
