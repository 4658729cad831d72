// What the reversed gradient does: numbers, and the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "nn/functional/cross_entropy.h"
#include "tests/train/explain/explain_run.h"
#include "train/data/loader.h"
#include "train/explain/domain_probe.h"
#include "train/explain/explained.h"

namespace mono {
namespace {

using test::expect_well_formed;
using test::Explain;
using test::kAll;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Explain, GradientsAddUpToThoseOfTraining) {
  const TrainedRun run = make_run({"batch_head.mode=reversed", "batch_head.schedule=constant",
                                   "batch_head.lambda=0.7", "batch_head.weight=0.5", "seed=3"});
  const GradientReversalExplanation found = explain_gradient_reversal(run, kAll, kAll);
  EXPECT_TRUE(found.reversed);
  EXPECT_EQ(found.lambda, 0.7);
  EXPECT_EQ(found.weight, 0.5);

  // The step's own way: both losses on one tape, reversed in between.
  Model& model = *run.model;
  Loader loader(*run.setup, 0, found.groups / 2, 0);
  const Tensor flat = model.arena().new_array();
  std::vector<double> sum(static_cast<size_t>(model.arena().size()));
  for (int64_t g = 0; g < found.groups; ++g) {
    const Batch batch = make_batch(*run.setup, loader.next());
    Tape tape;
    const SegmentTable segment({0, batch.images.shape()[0]}, Device::cpu);
    ForwardContext context;
    context.tape = &tape;
    context.segments = segment;
    const ModelOutput output = model.forward(Variable(batch.images), context,
                                             {.mode = BatchHead::Mode::reversed, .lambda = 0.7});
    soft_cross_entropy(output.y, batch.targets, 1.0, context);
    soft_cross_entropy(output.batch, batch.batch_targets, 0.5, context);
    model.arena().begin_gradients(flat);
    tape.backward();
    model.arena().finish_gradients();
    for (size_t i = 0; i < sum.size(); ++i)
      sum[i] += static_cast<double>(flat.span<float>()[i]) / static_cast<double>(found.groups);
  }
  size_t layers = 0;
  for (const Parameter& parameter : model.arena().parameters()) {
    if (parameter.name.starts_with("head.") || parameter.name.starts_with("batch_head.") ||
        parameter.shape.rank() < 2)
      continue;
    double squares = 0;
    for (int64_t i = 0; i < parameter.elements(); ++i) {
      const double value = sum[static_cast<size_t>(parameter.offset + i)];
      squares += value * value;
    }
    ASSERT_LT(layers, found.layers.size());
    const GradientLayer& layer = found.layers[layers++];
    EXPECT_EQ(layer.name, parameter.name);
    EXPECT_NEAR(layer.sum, std::sqrt(squares), 1e-3 * std::sqrt(squares) + 1e-7) << layer.name;
    EXPECT_LE(layer.cosine_after, layer.cosine + 1e-12);  // reversal never makes it easier
    EXPECT_GE(layer.cosine_before, layer.cosine - 1e-12);
  }
  EXPECT_EQ(layers, found.layers.size());

  // The weight of its loss is part of what the batch head asks for.
  const GradientReversalExplanation twice = explain_gradient_reversal(
      make_run({"batch_head.mode=reversed", "batch_head.schedule=constant", "batch_head.lambda=0.7",
                "batch_head.weight=1.0", "seed=3"}),
      kAll, kAll);
  EXPECT_DOUBLE_EQ(twice.all.main, found.all.main);
  EXPECT_NEAR(twice.all.batch, 2 * found.all.batch, 1e-6 * found.all.batch);

  // The head's accuracy is that of its answers.
  ASSERT_EQ(found.readable.size(), 1u);
  EXPECT_EQ(found.readable[0].part, "test images");
  ASSERT_TRUE(found.readable[0].head);
  const ImageChoice choice =
      choose_images(run.setup->dataset, run.setup->split.test, kAll, kAll, run.setup->recipe.seed);
  const auto row_of_site = [&](int site) {
    return static_cast<size_t>(std::ranges::lower_bound(choice.sites, site) - choice.sites.begin());
  };
  Share head;
  Features embedding(static_cast<int>(choice.sites.size()), 16);
  forward_images(*run.setup, model, choice.sites, {.task = "test"},
                 [&](std::span<const int> sites, const ModelOutput& output) {
                   for (size_t n = 0; n < sites.size(); ++n) {
                     const size_t row = row_of_site(sites[n]);
                     std::ranges::copy(row_of(output.embedding.value(), static_cast<int>(n)),
                                       embedding.row(static_cast<int>(row)).begin());
                     const std::vector<float> y = row_of(output.batch.value(), static_cast<int>(n));
                     const auto named = std::ranges::max_element(y) - y.begin();
                     if (choice.in_bank[row]) continue;
                     ++head.images;
                     head.correct +=
                         named ==
                         run.setup->dataset.sites[static_cast<size_t>(sites[n])].experiment;
                   }
                 });
  const Share probe =
      *probe_domain(embedding, choice.domain, 4, choice.in_bank, run.setup->recipe.seed);
  EXPECT_EQ(found.readable[0].head->images, head.images);
  EXPECT_EQ(found.readable[0].head->correct, head.correct);
  EXPECT_EQ(found.readable[0].probe->images, probe.images);
  EXPECT_EQ(found.readable[0].probe->correct, probe.correct);
  EXPECT_NE(head.correct, probe.correct);  // or they could stand for one another
}

TEST_F(Explain, LambdaIsOfTheStepThatMadeTheWeights) {
  const TrainedRun run = make_run({"batch_head.mode=reversed", "batch_head.schedule=ramp"});
  const double steps =
      static_cast<double>(steps_per_epoch(*run.setup) * run.setup->recipe.train.epochs);
  ASSERT_EQ(run.step, 7);  // taken: the last was step 6, counted from 0
  EXPECT_EQ(explain_gradient_reversal(run, 2, kAll).lambda,
            batch_head_at(run.setup->recipe, 6 / steps).lambda);
}

TEST_F(Explain, VerdictTellsWhoFindsTheExperiment) {
  const TrainedRun run = make_run({"batch_head.mode=reversed"});
  GradientReversalExplanation found = explain_gradient_reversal(run, 2, kAll);
  ReadableExperiment& readable = found.readable[0];
  readable.chance = 0.25;
  const auto lead = [&](int head, int probe) {
    readable.head = Share{head, 100};
    readable.probe = Share{probe, 100};
    return show_gradient_reversal(run, found, "").html;
  };
  EXPECT_THAT(lead(80, 90), HasSubstr("Both find it."));
  EXPECT_THAT(lead(50, 90), HasSubstr("Both find it."));
  EXPECT_THAT(lead(80, 30), HasSubstr("own head finds it: the probe"));
  EXPECT_THAT(lead(30, 80), HasSubstr("own head only: it is still there"));
  EXPECT_THAT(lead(30, 30), AllOf(HasSubstr("Neither finds much."), Not(HasSubstr("trained on"))));
  readable.of_training = true;
  EXPECT_THAT(lead(80, 90), HasSubstr("batch head, which was trained on all of them, names"));
}

TEST_F(Explain, SeparatedRunsAreReadOnKnownAndUnseenExperiments) {
  test::write_tiny_run(folder_ / "run", screen_->path(), {});
  const std::string text = run(options_for("gradient-reversal", folder_ / "run"));
  EXPECT_THAT(text, AllOf(HasSubstr("the head is detached"), HasSubstr("training images"),
                          HasSubstr("unseen experiments")));
  const JsonView json =
      read_json_file((folder_ / "run" / "explain" / "gradient-reversal.json").string());
  EXPECT_FALSE(json["reversed"].boolean());
  EXPECT_EQ(json["readable"].array().size(), 2u);
  EXPECT_TRUE(json["readable"].array()[1]["head"].is_null());
  expect_well_formed(test::read_text(folder_ / "run" / "explain" / "gradient-reversal.html"));
}

}  // namespace
}  // namespace mono
