// Explanations on tiny runs: numbers against direct computation, what is written, what is refused.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "kernels/base/gpu.h"
#include "kernels/base/philox.h"
#include "nn/functional/cross_entropy.h"
#include "tests/train/evaluate/tiny_run.h"
#include "train/commands.h"
#include "train/data/loader.h"
#include "train/evaluate/evaluate.h"
#include "train/explain/domain_probe.h"
#include "train/explain/explained.h"
#include "train/idle_keys.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;
using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int kAll = 1000;  // images: no limit on the tiny screen

class Explain : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new TempDir;
    test::write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() {
    delete screen_;
    screen_ = nullptr;
  }

  // A run whose weights are as drawn and whose running statistics are nothing special.
  TrainedRun make_run(std::vector<std::string> sets = {}) {
    sets.push_back("data.split=stratified");
    test::write_tiny_run(folder_ / "run", screen_->path(), sets);
    TrainedRun run = load_run(folder_ / "run", "", {}, {});
    NormStatistics& running = run.model->running();
    Philox random(3, Purpose::test);
    for (float& value : running.mean().span<float>())
      value = static_cast<float>(0.3 * random.normal());
    for (float& value : running.variance().span<float>())
      value = static_cast<float>(0.5 + random.uniform());
    return run;
  }
  static ExplainOptions options_for(const std::string& what, const fs::path& run) {
    ExplainOptions options;
    options.what = what;
    options.run = run;
    options.compute.device = "cpu";
    return options;
  }
  static std::string run(const ExplainOptions& options) {
    return quietly([&] { EXPECT_EQ(run_explain(options), 0); });
  }
  static std::string usage_error_of(const ExplainOptions& options) {
    try {
      run(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();  // exit code 2
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  // A run of views, one epoch of it.
  fs::path train_views(const std::string& recipe) {
    TrainOptions options;
    options.recipe = "smoke/cdcl/table1/" + recipe;
    options.sets = sets_that_apply(
        options.recipe,
        {"model.patch=4", "model.depth=1", "model.dim=16", "model.heads=2", "model.drop_path=0.0",
         "data.validation_experiments=0", "batch.anchors=6", "views.size=16", "views.local_size=8",
         "ssl.hidden=12", "ssl.bottleneck=8", "ssl.outputs=10", "ssl.byol_hidden=12",
         "ssl.byol_outputs=8", "train.epochs=1", "loader.workers=1", "validation.every_epochs=0"});
    options.data = screen_->path();
    options.out = folder_ / recipe;
    options.compute.device = "cpu";
    quietly([&] { EXPECT_EQ(run_train(options), 0); });
    return options.out;
  }
  // What `work` prints to stdout, also where it throws.
  template <class Work>
  static std::string quietly(Work work) {
    ::testing::internal::CaptureStdout();
    try {
      work();
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    return ::testing::internal::GetCapturedStdout();
  }

  static TempDir* screen_;
  TempDir folder_;
};
TempDir* Explain::screen_ = nullptr;

// A page as its reader sees it, as far as apostrophes go.
std::string read_page(const fs::path& file) {
  std::string html = test::read_text(file);
  for (size_t at = 0; (at = html.find("&#39;", at)) != std::string::npos;) html.replace(at, 5, "'");
  return html;
}

// Every element that opens closes, in order; no number is "nan".
void expect_well_formed(const std::string& html) {
  static const std::set<std::string> kVoid = {"meta", "link", "br", "hr", "img", "col", "wbr"};
  EXPECT_TRUE(html.starts_with("<!doctype html>") || html.starts_with("<!DOCTYPE html>"));
  EXPECT_THAT(html, Not(HasSubstr(">nan")));
  std::vector<std::string> open;
  for (size_t at = html.find('<', 1); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.ends_with("/") || tag.starts_with("!")) continue;
    const bool closes = tag.starts_with("/");
    tag = tag.substr(closes, tag.find_first_of(" \n", closes) - closes);
    if (kVoid.contains(tag)) continue;
    if (!closes) {
      open.push_back(tag);
      continue;
    }
    ASSERT_FALSE(open.empty()) << tag;
    ASSERT_EQ(open.back(), tag);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

// ---- what is observed -------------------------------------------------------------------------

// Keeps everything that a pass shows.
struct Everything final : NormObserver {
  struct Entry {
    std::string name;
    Tensor x, mean, variance;
  };
  std::vector<Entry> entries;
  void see(const NormInput& input) override {
    entries.push_back({input.layer.name, input.x, input.mean, input.variance});
  }
  const Entry& of(const std::string& name) const {
    return *std::ranges::find(entries, name, &Entry::name);
  }
};

// Mean and biased variance of a channel, in double, by definition.
std::pair<double, double> moments(const Tensor& x, int channel) {
  const int64_t rows = x.elements() / x.shape().back();
  double mean = 0, squares = 0;
  for (int64_t r = 0; r < rows; ++r)
    mean += static_cast<double>(x.data<float>()[r * x.ld() + channel]);
  mean /= static_cast<double>(rows);
  for (int64_t r = 0; r < rows; ++r) {
    const double d = static_cast<double>(x.data<float>()[r * x.ld() + channel]) - mean;
    squares += d * d;
  }
  return {mean, squares / static_cast<double>(rows)};
}

ForwardContext context_of(const SegmentTable& segments, const TrainedRun& run) {
  ForwardContext context;
  context.segments = segments;
  context.norm.source = NormPolicy::Source::table;
  context.norm.table = &run.model->running();
  return context;
}

TEST_F(Explain, ObserverSeesTheInputOfEveryNormAndChangesNothing) {
  const TrainedRun run = make_run();
  const std::vector<int> sites(run.sites.begin(), run.sites.begin() + 5);
  const Tensor images = make_batch(*run.setup, read_batch(*run.setup, sites)).images;
  const SegmentTable segments({0, 2, 5}, Device::cpu);
  for (const bool batch : {false, true}) {
    ForwardContext context = context_of(segments, run);
    NormStatistics recorded(run.model->norms(), 2, DType::f32);
    if (batch) {
      context.norm.source = NormPolicy::Source::batch;
      context.norm.record = &recorded;
    }
    const ModelOutput plain = run.model->forward(Variable(images), context);
    Everything all;
    context.observer = &all;
    const ModelOutput seen = run.model->forward(Variable(images), context);
    EXPECT_TRUE(std::ranges::equal(plain.y.value().span<float>(), seen.y.value().span<float>()));

    ASSERT_EQ(all.entries.size(), run.model->norms().layers().size());
    for (const NormLayer& layer : run.model->norms().layers()) {
      const Everything::Entry& entry = all.of(layer.name);
      ASSERT_EQ(entry.x.shape().back(), layer.channels);
      const Tensor& table = batch ? recorded.mean() : run.model->running().mean();
      for (int s = 0; s < 2; ++s)
        for (int c = 0; c < layer.channels; ++c) {
          const int64_t column = layer.offset + c;
          EXPECT_EQ(entry.mean.data<float>()[s * entry.mean.ld() + c],
                    table.data<float>()[(batch ? s : 0) * table.shape().back() + column])
              << layer.name;
          if (!batch) continue;
          // What the engine computed for the segment is what the input says.
          const auto [mean, variance] = moments(entry.x.images(s == 0 ? 0 : 2, s == 0 ? 2 : 5), c);
          EXPECT_NEAR(entry.mean.data<float>()[s * entry.mean.ld() + c], mean,
                      1e-4 * (1 + std::abs(mean)));
          EXPECT_NEAR(entry.variance.data<float>()[s * entry.variance.ld() + c], variance,
                      1e-3 * (1e-3 + variance));
        }
    }
  }
}

TEST_F(Explain, RecorderKeepsMomentsAndPooledOutputs) {
  const TrainedRun run = make_run();
  const ImageChoice choice = choose_images(run.setup->dataset, run.sites, kAll, kAll, 1);
  LayerRecorder recorder(choice);
  std::map<int, std::vector<float>> embedding;  // by site
  forward_images(*run.setup, *run.model, choice.sites, {.task = "test", .observer = &recorder},
                 [&](std::span<const int> sites, const ModelOutput& output) {
                   recorder.end_of_batch(sites);
                   for (size_t n = 0; n < sites.size(); ++n)
                     embedding[sites[n]] = row_of(output.embedding.value(), static_cast<int>(n));
                 });

  // The last norm's output is the embedding.
  const LayerRecord& last = *std::ranges::find(recorder.layers(), "neck.norm2", &LayerRecord::name);
  for (size_t r = 0; r < choice.sites.size(); ++r)
    for (size_t c = 0; c < static_cast<size_t>(last.pooled.width); ++c)
      EXPECT_NEAR(last.pooled.row(static_cast<int>(r))[c], embedding[choice.sites[r]][c], 2e-5);

  // All images of one experiment in one batch, by definition.
  const size_t domain = 2;
  std::vector<int> sites;
  for (size_t r = 0; r < choice.sites.size(); ++r)
    if (choice.domain[r] == static_cast<int>(domain)) sites.push_back(choice.sites[r]);
  const SegmentTable segments({0, static_cast<int>(sites.size())}, Device::cpu);
  ForwardContext context = context_of(segments, run);
  Everything all;
  context.observer = &all;
  run.model->forward(Variable(make_batch(*run.setup, read_batch(*run.setup, sites)).images),
                     context);
  for (const LayerRecord& layer : recorder.layers()) {
    const Tensor& x = all.of(layer.name).x;
    for (int c = 0; c < layer.pooled.width; ++c) {
      const auto [mean, variance] = moments(x, c);
      const ChannelMoments& found = layer.input[domain];
      EXPECT_NEAR(found.mean[static_cast<size_t>(c)], mean, 1e-5 * (1 + std::abs(mean)));
      EXPECT_NEAR(found.variance[static_cast<size_t>(c)], variance, 1e-4 * (1e-3 + variance));
    }
  }
}

// Where features are pooled before their ReLU, that norm's outputs are looked at without one; and a
// batch head's own norm is no layer of what classes are read from.
TEST_F(Explain, RecorderLooksAtWhatTheNextLayerSees) {
  const TrainedRun run = make_run({"model.pool_after_relu=false", "batch_head.hidden=5"});
  const ImageChoice choice = choose_images(run.setup->dataset, run.sites, 3, kAll, 1);
  LayerRecorder recorder(choice);
  Everything all;
  const auto look = [&](NormObserver& observer, bool record) {
    forward_images(*run.setup, *run.model, choice.sites, {.task = "test", .observer = &observer},
                   [&](std::span<const int> sites, const ModelOutput&) {
                     if (record) recorder.end_of_batch(sites);
                   });
  };
  look(recorder, true);
  look(all, false);
  EXPECT_EQ(all.entries.back().name, "batch_head.norm");
  EXPECT_EQ(recorder.layers().back().name, "neck.norm2");
  const LayerRecord& last =
      *std::ranges::find(recorder.layers(), "backbone.features.norm5", &LayerRecord::name);
  const LayerRecord& neck = *std::ranges::find(recorder.layers(), "neck.norm2", &LayerRecord::name);
  const Everything::Entry& entry = all.of(last.name);  // one batch: rows in order; gamma 1, beta 0
  for (int r = 0; r < last.pooled.rows; ++r)
    for (int c = 0; c < last.pooled.width; ++c) {
      const double mean = moments(entry.x.images(r, r + 1), c).first;
      const double expected =
          (mean - static_cast<double>(entry.mean.data<float>()[c])) /
          std::sqrt(static_cast<double>(entry.variance.data<float>()[c]) + last.eps);
      EXPECT_NEAR(last.pooled.row(r)[static_cast<size_t>(c)], expected,
                  1e-4 * (1 + std::abs(expected)));
    }
  EXPECT_LT(*std::ranges::min_element(last.pooled.values), 0);
  EXPECT_GE(*std::ranges::min_element(neck.pooled.values), 0);
}

TEST(ExplainDistance, IsInUnitsOfTheOthersSpread) {
  const ChannelMoments running{{1, 0}, {4, 1}, 10}, experiment{{3, 0.5}, {16, 1}, 10};
  const StatisticsDistance distance = distance_of(experiment, running, 0);
  EXPECT_DOUBLE_EQ(distance.shift, std::sqrt((1 + 0.25) / 2));
  EXPECT_DOUBLE_EQ(distance.scale, std::sqrt(std::log(2.0) * std::log(2.0) / 2));
  EXPECT_EQ(distance_of(running, running, 1e-5).shift, 0);
}

TEST_F(Explain, ChoiceTakesWholeWellsAndParts) {
  const TrainedRun run = make_run();
  const Dataset& dataset = run.setup->dataset;
  std::vector<int> all;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) all.push_back(i);
  const ImageChoice choice = choose_images(dataset, all, kAll, kAll, 1);
  EXPECT_EQ(choice.sites, all);
  EXPECT_EQ(choice.of_domain, (std::vector<int64_t>{16, 16, 16, 16}));
  std::map<std::string, std::set<uint8_t>> sides;  // of a well
  for (size_t r = 0; r < all.size(); ++r) {
    const Site& site = dataset.sites[static_cast<size_t>(choice.sites[r])];
    EXPECT_EQ(choice.experiments[static_cast<size_t>(choice.domain[r])], site.experiment);
    sides[site.site_id.substr(0, site.site_id.size() - 2)].insert(choice.in_bank[r]);
  }
  for (const auto& [well, of_well] : sides) EXPECT_EQ(of_well.size(), 1u) << well;
  EXPECT_EQ(std::ranges::count(choice.in_bank, uint8_t{1}), 32);

  std::ranges::reverse(all);
  const ImageChoice again = choose_images(dataset, all, kAll, kAll, 1);
  EXPECT_EQ(again.sites, choice.sites);
  EXPECT_EQ(again.in_bank, choice.in_bank);
  EXPECT_EQ(choose_images(dataset, all, 6, kAll, 1).of_domain, (std::vector<int64_t>(4, 6)));
  EXPECT_EQ(choose_images(dataset, all, kAll, 20, 1).of_domain, (std::vector<int64_t>(4, 5)));
}

TEST(ExplainProbe, FindsWhatIsThereAndNothingElse) {
  Philox random(5, Purpose::test);
  Features seen(200, 3), blind(200, 3);
  std::vector<int> domain;
  std::vector<uint8_t> in_bank;
  for (int r = 0; r < 200; ++r) {
    domain.push_back(r % 4 == 0 ? 0 : 1);
    in_bank.push_back(r < 100);
    for (size_t c = 0; c < 3; ++c) {
      const double noise = random.normal();
      blind.row(r)[c] = static_cast<float>(noise);
      seen.row(r)[c] = static_cast<float>(noise + (c == 1 ? 8 * domain.back() : 0));
    }
  }
  EXPECT_DOUBLE_EQ(chance_of(domain, 2, in_bank), 0.75);
  EXPECT_EQ(probe_domain(seen, domain, 2, in_bank, 1)->value(), 1.0);
  EXPECT_LE(probe_domain(blind, domain, 2, in_bank, 1)->value(), 0.8);
  EXPECT_FALSE(probe_domain(seen, std::vector<int>(200), 1, in_bank, 1));
}

// ---- AdaBN ------------------------------------------------------------------------------------

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
  const fs::path folder = folder_ / "a run";
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

// ---- gradient reversal ------------------------------------------------------------------------

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

// ---- centring ---------------------------------------------------------------------------------

TEST(ExplainCentring, MeasuresByHand) {
  // Two domains that name one prototype each, at a temperature that makes them sure.
  Features outputs(4, 2), features(4, 1), centres(2, 2);
  outputs.values = {3, 0, 5, 0, 0, 3, 0, 5};
  features.values = {0, 0, 0, 0};
  centres.values = {4, 0, 0, 4};
  const std::vector<int> domain = {0, 0, 1, 1};
  const std::vector<double> shares = {0.5, 0.5};
  const std::vector<uint8_t> in_bank = {1, 0, 1, 0};
  const CentringExplanation found =
      centring_of_outputs(outputs, features, domain, centres, shares, 0.1, in_bank, 1);
  // Within a domain one output has standard deviation 1, the other 0.
  EXPECT_NEAR(found.output_spread, std::sqrt(0.5), 1e-12);
  // Centres (4,0) and (0,4), their mean (2,2): 2 away.
  for (const CentredDomain& d : found.domains) {
    EXPECT_NEAR(d.centre_distance, 2 / std::sqrt(0.5), 1e-12);
    EXPECT_NEAR(d.output_distance, 2 / std::sqrt(0.5), 1e-12);
    EXPECT_NEAR(d.left_distance, 0, 1e-12);
  }
  ASSERT_EQ(found.ways.size(), 3u);
  EXPECT_NEAR(found.ways[0].information, 1, 1e-9);  // the prototype is the domain
  EXPECT_NEAR(found.ways[1].information, 1, 1e-9);
  EXPECT_NEAR(found.ways[2].information, 0, 1e-9);  // each domain uses both
  EXPECT_NEAR(found.ways[0].entropy, 0, 1e-9);
  EXPECT_NEAR(found.ways[2].spread, 1, 1e-9);
  EXPECT_NEAR(found.ways[2].usage[0][0], 0.5, 1e-4);
}

TEST(ExplainCentring, OneCentreLeavesDomainsToBeRead) {
  Philox random(8, Purpose::test);
  Features outputs(400, 6), features(400, 2), one(1, 6);
  std::vector<int> domain;
  std::vector<uint8_t> in_bank;
  for (int r = 0; r < 400; ++r) {
    domain.push_back(r % 2 == 0 ? 1 : 3);  // domain 0 and 2 do not occur
    in_bank.push_back(r < 200);
    for (size_t k = 0; k < 6; ++k)
      outputs.row(r)[k] = static_cast<float>(random.normal() + (k == 2 ? 6.0 * (r % 2) : 0));
    for (float& value : features.row(r)) value = static_cast<float>(random.normal());
  }
  std::vector<double> shares = {0, 0.5, 0, 0.5};
  const CentringExplanation found =
      centring_of_outputs(outputs, features, domain, one, shares, 1.0, in_bank, 1);
  EXPECT_FALSE(found.per_domain);
  EXPECT_EQ(found.domains.size(), 2u);
  EXPECT_EQ(found.domains[0].share, 0.5);
  EXPECT_GT(found.ways[0].probe->value(), 0.97);
  EXPECT_EQ(found.ways[0].probe->correct, found.ways[1].probe->correct);
  EXPECT_LT(found.ways[2].probe->value(), 0.65);  // own means
  EXPECT_LT(found.ways[2].information, 0.1 * found.ways[1].information);

  // A domain of training that no crop was of is in the list, and changes no measure of the others.
  shares = {0.2, 0.4, 0, 0.4};
  const CentringExplanation more =
      centring_of_outputs(outputs, features, domain, one, shares, 1.0, in_bank, 1);
  ASSERT_EQ(more.domains.size(), 3u);
  EXPECT_EQ(more.domains[0].rows, 0);
  EXPECT_EQ(more.domains[0].share, 0.2);
  EXPECT_EQ(more.domains[1].output_distance, found.domains[0].output_distance);
  EXPECT_EQ(more.ways[1].information, found.ways[1].information);
  EXPECT_EQ(more.ways[1].entropy, found.ways[1].entropy);
}

TEST_F(Explain, CentringOfATrainedRun) {
  const fs::path trained = train_views("cdcl");
  ExplainOptions options = options_for("centring", trained);
  options.out = folder_ / "page.html";
  const std::string text = run(options);
  EXPECT_THAT(text, AllOf(HasSubstr("a centre for each domain"), HasSubstr("own centre")));
  const JsonView json = read_json_file((folder_ / "page.json").string());
  EXPECT_TRUE(json["per_domain"].boolean());
  EXPECT_EQ(json["outputs"].integer(), 10);
  EXPECT_EQ(json["domains"].array().size(), 3u);  // HUVEC-04 is for testing
  double weights = 0;
  for (const JsonView& domain : json["domains"].array())
    weights += domain["mean_weight"].number() * domain["share"].number();
  EXPECT_NEAR(weights, 1, 1e-9);  // shares of every batch add up to one
  const std::string html = read_page(folder_ / "page.html");
  expect_well_formed(html);
  EXPECT_THAT(html,
              AllOf(HasSubstr("Pairs across domains show a rare one more often"),
                    HasSubstr("has moved from its centre"), Not(HasSubstr("expectation is"))));

  options.what = "adabn";
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("trained on views"), HasSubstr("explain centring")));
  options.what = "gradient-reversal";
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("no batch head"), HasSubstr("explain centring")));
}

TEST_F(Explain, CentringWithOneCentre) {
  const std::string text = run(options_for("centring", train_views("ssl-dino")));
  EXPECT_THAT(text, AllOf(HasSubstr("one centre for all"), HasSubstr("own mean")));
  EXPECT_THAT(read_page(folder_ / "ssl-dino" / "explain" / "centring.html"),
              AllOf(HasSubstr("not in their mean"), Not(HasSubstr("its centre follows it"))));
}

// ---- refusals ---------------------------------------------------------------------------------

TEST_F(Explain, SaysWhatToUseInstead) {
  test::write_tiny_run(folder_ / "run", screen_->path(), {"batch_head.mode=none"});
  ExplainOptions options = options_for("gradient-reversal", folder_ / "run");
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("has no batch head"), HasSubstr("batch_head.mode")));
  options.what = "centring";
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("has no teacher"), HasSubstr("explain adabn")));
  options.what = "adabm";
  EXPECT_THAT(usage_error_of(options), HasSubstr("did you mean 'adabn'"));
  options.what = "adabn";
  options.out = folder_ / "page.pdf";
  EXPECT_THAT(usage_error_of(options), HasSubstr("FILE.html"));
  options.out.clear();
  options.images = 1;
  EXPECT_THAT(usage_error_of(options), HasSubstr("two images"));
  options = options_for("centring", train_views("ssl-byol"));
  EXPECT_THAT(usage_error_of(options), AllOf(HasSubstr("has no centres"), HasSubstr("dino")));
}

}  // namespace
}  // namespace mono
