// What is observed of a network, and of which images; against direct computation.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "tests/train/explain/explain_run.h"
#include "train/data/batch.h"
#include "train/explain/domain_probe.h"
#include "train/explain/explained.h"

namespace mono {
namespace {

using test::Explain;
using test::kAll;

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

}  // namespace
}  // namespace mono
