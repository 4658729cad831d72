// What AdaBN corrects: numbers, and the page.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "kernels/base/gpu.h"
#include "tests/train/explain/explain_run.h"
#include "train/evaluate/evaluate.h"
#include "train/explain/explained.h"

namespace mono {
namespace {

using test::expect_well_formed;
using test::Explain;
using test::kAll;
using test::read_page;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

TEST_F(Explain, AdabnMeasuresWhatCorrectionTakesAway) {
  const TrainedRun run = make_run();
  const AdabnExplanation found = explain_adabn(run, kAll, kAll);
  EXPECT_EQ(found.experiments,
            (std::vector<std::string>{"HUVEC-01", "HUVEC-02", "HUVEC-03", "HUVEC-04"}));
  ASSERT_EQ(found.layers.size(), run.model->norms().layers().size());
  EXPECT_EQ(found.layers.front().name, "backbone.features.norm0");
  EXPECT_EQ(found.layers.back().name, "neck.norm2");
  for (size_t e = 0; e < 4; ++e) {
    // Nothing is below the first norm: all three look at the same numbers.
    const AdabnLayer& first = found.layers.front();
    EXPECT_NEAR(first.before[e].shift, first.own[e].shift, 1e-4 * first.own[e].shift);
    EXPECT_NEAR(first.before[e].scale, first.own[e].scale, 1e-4 * first.own[e].scale);
    EXPECT_LT(first.after[e].shift, 1e-4);
    EXPECT_LT(first.after[e].scale, 1e-4);
    for (const AdabnLayer& layer : found.layers) {
      EXPECT_GT(layer.before[e].shift, 0.05) << layer.name;  // random running statistics
      EXPECT_LT(layer.after[e].shift, 0.8 * layer.before[e].shift) << layer.name;
    }
    // The statistics were gathered in a pass whose groups each had their own: not quite the same.
    EXPECT_GT(found.layers.back().after[e].shift, 0);
  }
  // Accuracies are those of `evaluate`.
  for (const auto& [share, mode] : {std::pair{found.accuracy_before, StatisticsMode::running},
                                    std::pair{found.accuracy_after, StatisticsMode::experiment}}) {
    const Share expected = evaluate(run, mode).figures.overall;
    EXPECT_EQ(share.correct, expected.correct);
    EXPECT_EQ(share.images, expected.images);
  }
  // The example's values are the images', and the ratio is its definition.
  ASSERT_TRUE(found.example);
  for (size_t e = 0; e < 4; ++e) {
    EXPECT_EQ(static_cast<int64_t>(found.example->before[e].size()), found.images[e]);
    EXPECT_EQ(static_cast<int64_t>(found.example->after[e].size()), found.images[e]);
  }
  EXPECT_GT(found.example->ratio_before, 1);
}

class ExplainGpu : public Explain {};

TEST_F(ExplainGpu, SeesTheSameAsTheCpu) {
  if (std::string why; !gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why;
  test::write_tiny_run(folder_ / "run", screen_->path(),
                       {"data.split=stratified", "model.blocks=[1,1]"});
  AdabnExplanation found[2];
  for (const Device device : {Device::cpu, kGpu}) {
    const TrainedRun run = load_run(folder_ / "run", "", {}, {}, device);
    found[device == kGpu] = explain_adabn(run, 2, kAll);
  }
  ASSERT_EQ(found[0].layers.size(), found[1].layers.size());
  for (size_t l = 0; l < found[0].layers.size(); ++l)
    for (size_t e = 0; e < 4; ++e) {
      const AdabnLayer &cpu = found[0].layers[l], &gpu = found[1].layers[l];
      EXPECT_NEAR(cpu.before[e].shift, gpu.before[e].shift, 1e-3 * cpu.before[e].shift) << cpu.name;
      EXPECT_NEAR(cpu.own[e].scale, gpu.own[e].scale, 1e-3 * cpu.own[e].scale) << cpu.name;
    }
}

TEST(ExplainExample, RatioOfVariances) {
  ImageChoice choice;
  choice.experiments = {4, 9};
  choice.domain = {0, 0, 1, 1};
  Features values(4, 1);
  values.values = {1, 3, 5, 7};  // means 2 and 6; variance between 4, within 1
  EXPECT_DOUBLE_EQ(variance_ratio(values, 0, choice), 4);
}

TEST_F(Explain, AdabnWithOneTestExperimentSaysSo) {
  test::write_tiny_run(folder_ / "run", screen_->path(), {});
  const std::string text = run(options_for("adabn", folder_ / "run"));
  EXPECT_THAT(text, HasSubstr("16 test images of 1 experiment"));
  EXPECT_THAT(text, Not(HasSubstr("chance")));
  const std::string html = read_page(folder_ / "run" / "explain" / "adabn.html");
  EXPECT_THAT(html, HasSubstr("These test images are of one experiment"));
  EXPECT_THAT(html, AllOf(HasSubstr("their experiment's own"), Not(HasSubstr("linear probe on"))));
  expect_well_formed(html);
}

// Where experiments are the target and no test image could be answered right, pages are of training
// images and call them that. The command that makes a page again is one a shell takes.
TEST_F(Explain, PagesNameTheirImagesDataAndCommand) {
  const std::filesystem::path folder = folder_ / "a run";
  test::write_tiny_run(folder, screen_->path(), {"data.target=experiment", "batch_head.mode=none"});
  ExplainOptions options = options_for("adabn", folder);
  options.images = 4;
  options.out = folder_ / "it's.html";
  EXPECT_THAT(run(options), HasSubstr("12 training images of 3 experiments"));
  const std::string html = read_page(options.out);
  EXPECT_THAT(html, AllOf(HasSubstr("A dot is a training image"), HasSubstr("training images. A "),
                          HasSubstr("Accuracy on training images"), Not(HasSubstr("est image"))));
  EXPECT_THAT(html, HasSubstr("other data than the papers"));  // a part, not what `data synth` made
  EXPECT_THAT(html, AllOf(HasSubstr("a run' --images 4 --out '"), HasSubstr("it'\\''s.html'")));
}

}  // namespace
}  // namespace mono
