// Training, interrupting, resuming and evaluating on the GPU of this build.
#include <gmock/gmock.h>

#include <cmath>

#include "kernels/base/philox.h"
#include "models/weights.h"
#include "runtime/graph.h"
#include "tests/kernels/gpu_test.h"
#include "tests/train/tiny_screen.h"
#include "train/bench_step.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/groups_step.h"
#include "train/json.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using testing::HasSubstr;

class DeviceRuns : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }
  void SetUp() override {
    std::string why;
    if (!gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why;
  }
  static std::vector<std::string> sets(std::vector<std::string> more = {}) {
    more.insert(more.end(), {"batch.one_experiment_per_group=true", "domain.adabn=true",
                             "batch_head.mode=reversed", "augment.mixing=cutmix",
                             "model.blocks=[1,1]", "train.epochs=1", "optim.lr=0.01"});
    return more;
  }
  static TrainOptions options(const fs::path& out, Device device,
                              const std::vector<std::string>& more = {}) {
    TrainOptions options;
    options.recipe = "smoke/rxrx1/table1/baseline";
    options.sets = test::tiny_sets();
    options.sets.push_back("checkpoint.every_steps=1");
    for (const std::string& set : sets(more)) options.sets.push_back(set);
    options.data = screen_->path();
    options.out = out;
    options.compute.device = name_of(device);
    return options;
  }
  static test::TempDir* screen_;
};
test::TempDir* DeviceRuns::screen_ = nullptr;

std::vector<double> losses_of(const fs::path& run) {
  std::istringstream lines(test::read_text(run / "metrics.jsonl"));
  std::vector<double> losses;
  for (std::string line; std::getline(lines, line);)
    losses.push_back(parse_json(line, "metrics.jsonl")["loss"].number());
  return losses;
}

std::string weights_of(const fs::path& run) {
  return test::read_text(list_checkpoints(run).front() / "model.safetensors");
}

// A copy of the run without its newest checkpoint, resumed on `device`.
void resume(const fs::path& whole, const fs::path& cut, TrainOptions again) {
  fs::copy(whole, cut, fs::copy_options::recursive);
  fs::remove_all(list_checkpoints(cut).front());
  again.out = cut;
  again.resume = true;
  ASSERT_EQ(run_train(again), 0);
}

TEST_F(DeviceRuns, TrainsResumesOnAnyDeviceAndEvaluates) {
  test::TempDir dir;
  const fs::path cpu = dir / "cpu", gpu = dir / "gpu";
  ASSERT_EQ(run_train(options(cpu, Device::cpu)), 0);
  ASSERT_EQ(run_train(options(gpu, kGpu)), 0);
  const std::vector<double> expected = losses_of(cpu), losses = losses_of(gpu);
  ASSERT_EQ(losses.size(), expected.size());
  ASSERT_EQ(losses.size(), 3u);
  for (size_t i = 0; i < losses.size(); ++i)
    EXPECT_NEAR(losses[i], expected[i], 1e-3 * expected[i]) << "step " << i + 1;

  resume(gpu, dir / "gpu-gpu", options({}, kGpu, {"loader.workers=0"}));
  EXPECT_EQ(weights_of(dir / "gpu-gpu"), weights_of(gpu));  // the same bits
  resume(cpu, dir / "cpu-gpu", options({}, kGpu));
  EXPECT_NEAR(losses_of(dir / "cpu-gpu").back(), expected.back(), 1e-3 * expected.back());
  resume(gpu, dir / "gpu-cpu", options({}, Device::cpu));
  EXPECT_NEAR(losses_of(dir / "gpu-cpu").back(), expected.back(), 1e-3 * expected.back());

  // The same weights evaluated on both.
  std::string rows[2];
  for (const Device device : {Device::cpu, kGpu}) {
    EvaluateOptions evaluate;
    evaluate.run = cpu;
    evaluate.compute.device = name_of(device);
    ASSERT_EQ(run_evaluate(evaluate), 0);
    rows[device == kGpu] = test::read_text(cpu / "evaluation" / "separated-experiment.csv");
    EmbedOptions embed;
    embed.run = cpu;
    embed.out = dir / "embeddings";
    embed.compute.device = name_of(device);
    ASSERT_EQ(run_embed(embed), 0);
  }
  EXPECT_EQ(rows[0], rows[1]);
}

TEST_F(DeviceRuns, BitsDoNotDependOnLoaderWorkers) {
  const auto losses = [&](int workers) {
    const auto setup =
        set_up(test::tiny_recipe(sets({"train.precision=bf16"})), screen_->path(), {}, kGpu);
    const std::unique_ptr<Model> model = make_model(*setup);
    GroupsStep step(*setup, *model);
    step.start(0, 3, workers);
    std::vector<double> losses;
    for (int i = 0; i < 3; ++i) losses.push_back(step.run(i)->loss);
    return losses;
  };
  EXPECT_EQ(losses(0), losses(2));
}

// Planes arrive on a stream of their own, early or late.
TEST_F(DeviceRuns, BitsDoNotDependOnTheOrderOfStreams) {
  const auto setup = set_up(test::tiny_recipe(sets()), screen_->path(), {}, kGpu);
  std::vector<double> first;
  test::for_each_schedule_of_a_network([&] {
    {
      const std::unique_ptr<Model> model = make_model(*setup);
      GroupsStep step(*setup, *model);
      step.start(0, 2, 1);
      std::vector<double> losses;
      for (int i = 0; i < 2; ++i) losses.push_back(step.run(i)->loss);
      if (first.empty()) first = losses;
      EXPECT_EQ(losses, first);
    }
    synchronize(compute_stream(kGpu));
  });
}

// `forward` writes what the CPU writes: outputs, every gradient, every buffer.
TEST_F(DeviceRuns, ForwardWritesTheCpusNumbers) {
  test::TempDir dir;
  ModelOptions model_options;
  model_options.classes = 7;
  const auto model = make_model("densenet_smoke", model_options);
  model->initialise(DType::f32, 3);
  const std::vector<NamedTensor> state = state_dict(*model);
  write_safetensors(dir / "w", as_safetensors(state));
  Philox random(2, Purpose::test);
  std::vector<float> x(4 * 6 * 32 * 32), dy(4 * 7);
  for (std::vector<float>* values : {&x, &dy})
    for (float& value : *values) value = static_cast<float>(random.normal());
  const std::vector<int32_t> domain = {9, 4, 9, 4};
  const std::vector<SafetensorsTensor> input = {
      safetensors_f32("x", {4, 6, 32, 32}, x),
      safetensors_f32("dy", {4, 7}, dy),
      {"domain", "I32", {4}, std::as_bytes(std::span(domain))}};
  write_safetensors(dir / "x", input);
  ForwardOptions options;
  options.model = "densenet_smoke";
  options.classes = 7;
  options.mode = "train";
  options.backward = true;
  options.weights = dir / "w";
  options.input = dir / "x";
  for (const Device device : {Device::cpu, kGpu}) {
    options.output = dir / std::string(name_of(device));
    options.compute.device = name_of(device);
    ASSERT_EQ(run_forward(options), 0);
  }
  const SafetensorsFile cpu(dir / "cpu"), gpu(dir / std::string(name_of(kGpu)));
  ASSERT_EQ(cpu.entries().size(), gpu.entries().size());
  for (const SafetensorsEntry& entry : cpu.entries()) {
    const std::vector<float> a = cpu.values<float>(entry.name), b = gpu.values<float>(entry.name);
    double difference = 0, square = 0;
    for (size_t i = 0; i < a.size(); ++i) {
      difference += std::pow(double{a[i]} - double{b[i]}, 2);
      square += std::pow(double{a[i]}, 2);
    }
    // Some gradients of the scale before the pool vanish but for rounding.
    EXPECT_LE(std::sqrt(difference), 1e-3 * std::sqrt(square) + 1e-5) << entry.name;
  }

  options.precision = "f64";
  try {
    run_forward(options);
    FAIL() << "f64 on a GPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::usage);
    EXPECT_THAT(error.what(), HasSubstr("f64 runs on the CPU"));
  }
}

TEST_F(DeviceRuns, CheckTriesAStep) {
  test::TempDir dir;
  const TrainOptions train = options({}, kGpu);
  PreflightOptions check;
  check.recipe = train.recipe;
  check.sets = train.sets;
  check.data = train.data;
  check.out = dir.path();
  check.compute = train.compute;
  EXPECT_EQ(run_check(check), 0);
}

TEST_F(DeviceRuns, NamesTheFirstLayerThatIsNotFinite) {
  const auto setup = set_up(test::tiny_recipe(sets()), screen_->path(), {}, kGpu);
  const std::unique_ptr<Model> model = make_model(*setup);
  GroupsStep step(*setup, *model);
  step.start(0, 2, 0);
  ParameterArena& arena = model->arena();
  const Parameter* p = arena.find("backbone.features.denseblock1.denselayer1.conv1.weight");
  ASSERT_NE(p, nullptr);
  const Tensor nan = Tensor::zeros(p->shape, DType::f32);
  nan.data<float>()[0] = std::nanf("");
  arena.view(arena.weights(), *p).copy_from(nan);
  const auto bits = [](const Tensor& t) {
    const Tensor host = t.to(Device::cpu);
    return std::string(reinterpret_cast<const char*>(host.raw()), host.bytes());
  };
  const std::string before = bits(arena.weights());
  try {
    step.run(0);
    FAIL() << "a NaN went unnoticed";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_THAT(error.what(), HasSubstr("features.denseblock1.denselayer1.norm2"));
  }
  EXPECT_EQ(bits(arena.weights()), before);
}

TEST_F(DeviceRuns, ACapturedStepGivesTheSameLosses) {
  ModelOptions options;
  options.channels = 6;
  options.classes = 7;
  options.densenet = DenseNetConfig{4, {1, 2}, 8, 4};
  std::vector<double> losses[2];
  std::vector<float> weights[2];
  for (const bool captured : {false, true}) {
    const auto model = make_model("densenet_smoke", options);
    model->initialise(DType::f32, 0, kGpu);
    BenchStep step(*model, 4, 16, 6, 7, DType::bf16);
    std::unique_ptr<Graph> graph;
    for (int i = 0; i < 4; ++i) {
      if (!captured)
        step.run();
      else if (!graph)
        graph = std::make_unique<Graph>([&] { step.run(); });
      else
        graph->replay();
      losses[captured].push_back(step.loss());
    }
    const Tensor host = model->arena().weights().to(Device::cpu);
    weights[captured].assign(host.span<float>().begin(), host.span<float>().end());
  }
  EXPECT_EQ(losses[0], losses[1]);
  EXPECT_EQ(weights[0], weights[1]);
  EXPECT_LT(losses[1][3], losses[1][0]);
}

}  // namespace
}  // namespace mono
