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
#include "nn/functional/figures.h"
#include "nn/optim/adamw.h"
#include "nn/optim/ema.h"
#include "runtime/graph.h"
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

// Four steps of AdamW with everything that changes from step to step: rate, decay, a head that
// is frozen at first, drop path, and a teacher's momentum. Losses, then the teacher's weights.
std::vector<double> train_on(Device device, DType dtype, bool captured) {
  const auto model = small_deit(DType::f32, device), teacher = small_deit(DType::f32, device);
  const Tensor images =
      images_on(test::formula_images(kImages, kSize, kChannels, dtype), dtype, device);
  const Tensor targets = Tensor::zeros({kImages, kClasses}, DType::f32);
  for (int n = 0; n < kImages; ++n) targets.data<float>()[n * kClasses + 2 * n] = 1;
  const Tensor targets_there = targets.to(device);
  const Tensor table = Tensor::zeros({4, kImages}, DType::f32, device);
  const SegmentTable segments({0, kImages}, device);
  AdamW optimiser(model->arena(), {.max_norm = 3, .freezable = [](const Parameter& p) {
                                     return p.name.starts_with("head.");
                                   }});
  Ema ema(teacher->arena(), model->arena());
  const Tensor gradients = model->arena().new_array();
  Figures figures(1, device);
  const auto step = [&] {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    context.segments = segments;
    context.drop_path = table;
    figures.clear();
    const Tensor losses = cross_entropy_losses(model->forward(Variable(images), context).y,
                                               targets_there, 1, context);
    figures.add_mean(0, losses);
    model->arena().begin_gradients(gradients);
    tape.backward();
    model->arena().finish_gradients();
    optimiser.apply(gradients);
    ema.apply();
  };
  std::unique_ptr<Graph> graph;
  std::vector<double> result;
  for (int i = 0; i < 4; ++i) {
    table.copy_from(drop_path({i}, i % 2 ? 0.0f : 1.5f));
    optimiser.begin_step(
        {.lr = 1e-3 * (i + 1), .weight_decay = 0.05 * i, .grad_scale = 0.5, .frozen = i < 2});
    ema.set_momentum(0.5 + 0.1 * i);
    if (!captured)
      step();
    else if (!graph)
      graph = std::make_unique<Graph>(step);
    else
      graph->replay();
    result.push_back(figures.read()[0]);
  }
  const Tensor weights = teacher->arena().weights().to(Device::cpu);
  result.insert(result.end(), weights.span<float>().begin(), weights.span<float>().end());
  return result;
}

void expect_the_cpus(DType dtype, const std::vector<double>& gpu) {
  const std::vector<double> cpu = train_on(Device::cpu, dtype, false);
  EXPECT_LT(gpu[3], gpu[0]);
  for (size_t i = 0; i < 4; ++i)
    EXPECT_NEAR(gpu[i], cpu[i], dtype == DType::f32 ? 1e-5 : 2e-2) << "loss " << i;
  // Where a gradient is zero but for rounding (the keys' biases), Adam steps by its rate either
  // way.
  for (size_t i = 4; i < cpu.size(); ++i) ASSERT_NEAR(gpu[i], cpu[i], 1e-2) << i;
}

TEST(DeitGpu, TrainingStepsAreTheCpus) {
  test::for_each_schedule_of_a_network(
      [] { expect_the_cpus(DType::f32, train_on(kGpu, DType::f32, false)); });
}

TEST(DeitGpu, RecordedStepsFollowTheirSchedules) {
  test::for_one_schedule([] {
    const std::vector<double> gpu = train_on(kGpu, DType::bf16, true);
    expect_the_cpus(DType::bf16, gpu);
    EXPECT_EQ(train_on(kGpu, DType::bf16, false), gpu) << "recorded and replayed";
  });
}

}  // namespace
}  // namespace mono
