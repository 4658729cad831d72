// One optimiser step after another: determinism, groups, divergence.
#include "train/groups_step.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/base/thread_pool.h"
#include "nn/functional/cross_entropy.h"
#include "tests/train/tiny_screen.h"
#include "train/hash.h"

namespace mono {
namespace {

using testing::HasSubstr;

class TrainStepTest : public testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new test::TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() { delete screen_; }
  void TearDown() override { set_num_threads(threads_); }
  static std::unique_ptr<RunSetup> setup(const std::vector<std::string>& sets = {}) {
    return set_up(test::tiny_recipe(sets), screen_->path());
  }
  static test::TempDir* screen_;
  int threads_ = num_threads();
};
test::TempDir* TrainStepTest::screen_ = nullptr;

uint64_t fingerprint(const Model& model) {
  Hasher hasher;
  for (const Tensor& t :
       {model.arena().weights(), model.running().mean(), model.running().variance()})
    hasher.update(t.raw(), static_cast<size_t>(t.bytes()));
  return hasher.digest();
}

struct Outcome {
  uint64_t weights;
  std::vector<double> losses;
  bool operator==(const Outcome&) const = default;
};

Outcome train(const RunSetup& setup, int steps, int workers) {
  const std::unique_ptr<Model> model = make_model(setup);
  GroupsStep step(setup, *model);
  step.start(0, steps, workers);
  Outcome outcome;
  for (int i = 0; i < steps; ++i) outcome.losses.push_back(step.run(i)->loss);
  outcome.weights = fingerprint(*model);
  return outcome;
}

TEST_F(TrainStepTest, TenStepsHaveTheSameBitsWithAnyNumberOfThreadsAndWorkers) {
  for (const auto& sets :
       {std::vector<std::string>{"augment.mixing=cutmix"},
        {"batch.one_experiment_per_group=true", "domain.adabn=true", "batch.groups=3",
         "batch_head.mode=reversed", "train.epochs=6", "train.precision=bf16"}}) {
    const auto s = setup(sets);
    set_num_threads(1);
    const Outcome expected = train(*s, 10, 0);
    for (const double loss : expected.losses) EXPECT_TRUE(std::isfinite(loss));
    for (const int threads : {2, 3, 8}) {
      set_num_threads(threads);
      EXPECT_EQ(train(*s, 10, threads % 3), expected) << threads << " threads";
    }
  }
}

TEST_F(TrainStepTest, LearnsTheTinyScreen) {
  const auto s = setup({"train.epochs=15", "batch_head.mode=none"});
  const Outcome outcome = train(*s, 60, 1);
  EXPECT_LT(outcome.losses.back(), outcome.losses.front() / 2);
}

// Two groups one after the other, added and halved, are one batch of two segments.
TEST_F(TrainStepTest, GroupsAddUpToTheBatchOfTheirSegments) {
  const auto s = setup();
  const std::unique_ptr<Model> model = make_model(*s);
  ParameterArena& arena = model->arena();
  const std::vector<Group> plan = plan_epoch(*s, 0);
  const auto gradient = [&](const std::vector<int>& sites, std::vector<int> offsets,
                            const Tensor& into) {
    const Batch batch = make_batch(*s, read_batch(*s, sites));
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    context.segments = {static_cast<int>(offsets.size()) - 1, offsets.data()};
    soft_cross_entropy(model->forward(Variable(batch.images), context).y, batch.targets, 1.0,
                       context);
    arena.begin_gradients(into);
    tape.backward();
    arena.finish_gradients();
  };
  GradientTree tree(arena);
  for (int g = 0; g < 2; ++g) {
    const Tensor leaf = tree.next_leaf();
    gradient(plan[static_cast<size_t>(g)], {0, 6}, leaf);
    tree.add(leaf);
  }
  const Tensor sum = tree.sum(), whole = arena.new_array();
  std::vector<int> both = plan[0];
  both.insert(both.end(), plan[1].begin(), plan[1].end());
  gradient(both, {0, 6, 12}, whole);
  double largest = 0;
  for (const float g : whole.span<float>()) largest = std::max(largest, std::abs(double{g}));
  ASSERT_GT(largest, 1e-3);
  for (int64_t i = 0; i < sum.elements(); ++i)
    ASSERT_NEAR(sum.data<float>()[i] / 2, whole.data<float>()[i], 1e-4 * largest) << i;
}

TEST_F(TrainStepTest, ADetachedHeadChangesNothingElse) {
  const auto weights_of = [&](const std::string& mode) {
    const auto s = setup({"batch_head.mode=" + mode, "optim.weight_decay=0.0"});
    const std::unique_ptr<Model> model = make_model(*s);
    GroupsStep step(*s, *model);
    step.start(0, 2, 0);
    for (int i = 0; i < 2; ++i) step.run(i);
    const Parameter* p = model->arena().find("neck.fc1.weight");
    return std::vector<float>(p->weights<float>(), p->weights<float>() + p->elements());
  };
  const auto none = weights_of("none");
  EXPECT_EQ(weights_of("detached"), none);
  EXPECT_NE(weights_of("reversed"), none);
}

TEST_F(TrainStepTest, ReportsAccuracyAndTheBatchHead) {
  const auto s = setup({"batch_head.weight=0.5"});
  const std::unique_ptr<Model> model = make_model(*s);
  GroupsStep step(*s, *model);
  step.start(0, 1, 0);
  const StepFigures f = *step.run(0);
  EXPECT_NEAR(f.loss, f.target_loss + 0.5 * f.batch_loss, 1e-9);
  EXPECT_NEAR(f.target_loss, std::log(4), 1);
  EXPECT_GT(f.gradient_norm, 0);
  EXPECT_TRUE(f.accuracy >= 0 && f.accuracy <= 1);
}

TEST_F(TrainStepTest, NamesTheFirstLayerThatIsNotFinite) {
  const auto s = setup();
  const std::unique_ptr<Model> model = make_model(*s);
  GroupsStep step(*s, *model);
  step.start(0, 2, 0);
  step.run(0);
  const Parameter* p =
      model->arena().find("backbone.features.denseblock1.denselayer1.conv1.weight");
  ASSERT_NE(p, nullptr);
  model->arena().view(model->arena().weights(), *p).data<float>()[0] =
      std::numeric_limits<float>::quiet_NaN();
  model->arena().weights_changed();
  const uint64_t before = fingerprint(*model);
  try {
    step.run(1);
    FAIL();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::diverged);
    EXPECT_THAT(error.what(), HasSubstr("step 2"));
    EXPECT_THAT(error.what(), HasSubstr("features.denseblock1.denselayer1.norm2"));
  }
  EXPECT_EQ(fingerprint(*model), before);
}

TEST(Schedule, WarmsUpThenFollowsACosineToZero) {
  const LearningRateSchedule schedule{.lr = 0.8, .warmup_steps = 4, .total_steps = 12};
  EXPECT_DOUBLE_EQ(schedule.at(0), 0.2);
  EXPECT_DOUBLE_EQ(schedule.at(3), 0.8);
  EXPECT_DOUBLE_EQ(schedule.at(4), 0.8);
  EXPECT_NEAR(schedule.at(8), 0.4, 1e-12);
  EXPECT_LT(schedule.at(11), 0.04);
  EXPECT_NEAR(schedule.at(12), 0.0, 1e-12);
  const LearningRateSchedule constant{
      .lr = 0.1, .warmup_steps = 0, .total_steps = 5, .cosine = false};
  EXPECT_DOUBLE_EQ(constant.at(0), 0.1);
  EXPECT_DOUBLE_EQ(constant.at(4), 0.1);
}

}  // namespace
}  // namespace mono
