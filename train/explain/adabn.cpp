#include "train/explain/adabn.h"

#include <algorithm>
#include <cmath>

#include "train/evaluate/inference.h"
#include "train/explain/domain_probe.h"

namespace mono {
namespace {

// A pass over the chosen images: what was seen in every layer, and how many answers were right.
struct Pass {
  explicit Pass(const ImageChoice& choice) : recorder(choice), right(choice.experiments.size()) {}
  LayerRecorder recorder;
  std::vector<Share> right;  // [experiment]
  ExperimentStatistics own;
};

Pass look(const TrainedRun& run, const ImageChoice& choice, StatisticsMode mode) {
  const RunSetup& setup = *run.setup;
  Pass pass(choice);
  const auto visit = [&](std::span<const int> sites, const ModelOutput& output) {
    pass.recorder.end_of_batch(sites);
    for (size_t n = 0; n < sites.size(); ++n) {
      const int label = setup.label[static_cast<size_t>(sites[n])];
      if (label < 0) continue;
      const std::vector<float> logits = row_of(output.y.value(), static_cast<int>(n));
      const auto row = std::ranges::lower_bound(choice.sites, sites[n]) - choice.sites.begin();
      Share& share = pass.right[static_cast<size_t>(choice.domain[static_cast<size_t>(row)])];
      ++share.images;
      share.correct += std::ranges::max_element(logits) - logits.begin() == label;
    }
  };
  pass.own = *forward_images(setup, *run.model, choice.sites,
                             {.task = mode == StatisticsMode::running ? "before" : "after",
                              .mode = mode,
                              .observer = &pass.recorder},
                             visit);
  return pass;
}

Share sum_of(const std::vector<Share>& shares) {
  Share sum;
  for (const Share& share : shares) {
    sum.correct += share.correct;
    sum.images += share.images;
  }
  return sum;
}

// The pooled outputs of a channel by experiment.
std::vector<std::vector<double>> by_experiment(FeatureView values, int column,
                                               const ImageChoice& choice) {
  std::vector<std::vector<double>> out(choice.experiments.size());
  for (int r = 0; r < values.rows; ++r)
    out[static_cast<size_t>(choice.domain[static_cast<size_t>(r)])].push_back(
        static_cast<double>(values.row(r)[static_cast<size_t>(column)]));
  return out;
}

std::optional<ChannelExample> most_visible(const std::vector<LayerRecord>& layers,
                                           const ImageChoice& choice) {
  ChannelExample best;
  for (const LayerRecord& layer : layers)
    for (int c = 0; c < layer.pooled.width; ++c)
      if (const double ratio = variance_ratio(layer.pooled, c, choice); ratio > best.ratio_before) {
        best.layer = layer.name;
        best.channel = c;
        best.ratio_before = ratio;
      }
  if (best.layer.empty()) return std::nullopt;
  return best;
}

const LayerRecord& record_of(const std::vector<LayerRecord>& layers, const std::string& name) {
  return *std::ranges::find(layers, name, &LayerRecord::name);
}

}  // namespace

double variance_ratio(FeatureView values, int column, const ImageChoice& choice) {
  const auto groups = by_experiment(values, column, choice);
  if (groups.size() < 2) return 0;
  double all_mean = 0, within = 0, between = 0;
  std::vector<double> means;
  for (const auto& group : groups) {
    double mean = 0, squares = 0;
    for (const double value : group) mean += value / static_cast<double>(group.size());
    for (const double value : group)
      squares += (value - mean) * (value - mean) / static_cast<double>(group.size());
    means.push_back(mean);
    all_mean += mean / static_cast<double>(groups.size());
    within += squares / static_cast<double>(groups.size());
  }
  for (const double mean : means)
    between += (mean - all_mean) * (mean - all_mean) / static_cast<double>(means.size());
  return within > 0 ? between / within : 0;
}

AdabnExplanation explain_adabn(const TrainedRun& run, int per_experiment, int in_all) {
  const RunSetup& setup = *run.setup;
  const Recipe& recipe = setup.recipe;
  if (recipe.batch.form == BatchForm::views)
    fail(
        ErrorKind::usage,
        "explain adabn: this run ({}, {}) was trained on views and has no batch norm that takes an "
        "experiment's statistics; use `explain centring` for a run of method dino, or `evaluate "
        "--embeddings` for what any embedding says of its batches",
        recipe.name, recipe.model.backbone);
  const ImageChoice choice =
      choose_images(setup.dataset, run.sites, per_experiment, in_all, recipe.seed);
  const int experiments = static_cast<int>(choice.experiments.size());

  AdabnExplanation result;
  for (const int experiment : choice.experiments)
    result.experiments.push_back(setup.dataset.experiments[static_cast<size_t>(experiment)]);
  result.images = choice.of_domain;
  result.bank = std::ranges::count(choice.in_bank, uint8_t{1});
  result.queries = static_cast<int64_t>(choice.sites.size()) - result.bank;
  result.chance = chance_of(choice.domain, experiments, choice.in_bank);

  const auto probe = [&](const LayerRecord& layer) {
    return probe_domain(layer.pooled, choice.domain, experiments, choice.in_bank, recipe.seed);
  };
  {  // before; its features go before those of the second pass come
    const Pass pass = look(run, choice, StatisticsMode::running);
    for (const LayerRecord& layer : pass.recorder.layers()) {
      const NormLayer& norm = run.model->norms().layers()[static_cast<size_t>(layer.index)];
      const ChannelMoments running = moments_of(norm, run.model->running(), 0);
      AdabnLayer& found = result.layers.emplace_back();
      found.name = layer.name;
      found.channels = layer.pooled.width;
      for (const ChannelMoments& input : layer.input)
        found.before.push_back(distance_of(input, running, layer.eps));
      found.probe_before = probe(layer);
    }
    result.example = most_visible(pass.recorder.layers(), choice);
    if (result.example)
      result.example->before =
          by_experiment(record_of(pass.recorder.layers(), result.example->layer).pooled,
                        result.example->channel, choice);
    result.before_of = pass.right;
  }
  const Pass pass = look(run, choice, StatisticsMode::experiment);
  for (size_t l = 0; l < result.layers.size(); ++l) {
    const LayerRecord& layer = pass.recorder.layers()[l];
    AdabnLayer& found = result.layers[l];
    MONO_CHECK(layer.name == found.name, "layers in another order: {}, {}", layer.name, found.name);
    const NormLayer& norm = run.model->norms().layers()[static_cast<size_t>(layer.index)];
    const ChannelMoments running = moments_of(norm, run.model->running(), 0);
    for (size_t e = 0; e < choice.experiments.size(); ++e) {
      MONO_CHECK(pass.own.experiments[e] == choice.experiments[e], "experiments out of order");
      const ChannelMoments own = moments_of(norm, pass.own.table, static_cast<int>(e));
      found.own.push_back(distance_of(own, running, layer.eps));
      found.after.push_back(distance_of(layer.input[e], own, layer.eps));
    }
    found.probe_after = probe(layer);
  }
  if (result.example) {
    const LayerRecord& layer = record_of(pass.recorder.layers(), result.example->layer);
    result.example->after = by_experiment(layer.pooled, result.example->channel, choice);
    result.example->ratio_after = variance_ratio(layer.pooled, result.example->channel, choice);
  }
  result.after_of = pass.right;
  result.accuracy_before = sum_of(result.before_of);
  result.accuracy_after = sum_of(result.after_of);
  return result;
}

}  // namespace mono
