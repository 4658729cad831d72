#include "train/evaluate/evaluate.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "train/evaluate/views_evaluation.h"
#include "train/on_ranks.h"
#include "train/run_directory.h"

namespace mono {
namespace {

int argmax(const std::vector<float>& row) {
  return static_cast<int>(std::max_element(row.begin(), row.end()) - row.begin());
}

// -log softmax(row)[label]
double cross_entropy(const std::vector<float>& row, int label) {
  const double most = *std::max_element(row.begin(), row.end());
  double sum = 0;
  for (const float value : row) sum += std::exp(static_cast<double>(value) - most);
  return std::log(sum) + most - static_cast<double>(row[static_cast<size_t>(label)]);
}

void check_finite(const RunSetup& setup, int site, const std::vector<float>& row) {
  if (std::ranges::all_of(row, [](float value) { return std::isfinite(value); })) return;
  fail(ErrorKind::diverged, "{}: the model's answer is not finite; the weights have diverged",
       setup.dataset.sites[static_cast<size_t>(site)].site_id);
}

}  // namespace

Evaluation evaluate(const TrainedRun& run, StatisticsMode mode, Communicator& ranks) {
  check_classes(run);
  const RunSetup& setup = *run.setup;
  Evaluation evaluation;
  evaluation.mode = mode;
  auto visit = [&](std::span<const int> sites, const ModelOutput& output) {
    for (int n = 0; n < static_cast<int>(sites.size()); ++n) {
      Classified image;
      image.site = sites[static_cast<size_t>(n)];
      image.experiment = setup.dataset.sites[static_cast<size_t>(image.site)].experiment;
      image.label = setup.label[static_cast<size_t>(image.site)];
      const std::vector<float> logits = row_of(output.y.value(), n);
      check_finite(setup, image.site, logits);
      image.predicted = argmax(logits);
      if (image.label >= 0) image.loss = cross_entropy(logits, image.label);
      if (output.batch.defined())
        image.predicted_experiment = argmax(row_of(output.batch.value(), n));
      evaluation.images.push_back(image);
    }
  };
  evaluation.statistics = *forward_images(
      setup, *run.model, run.sites, {.task = "evaluate", .mode = mode, .ranks = &ranks}, visit);
  std::ranges::sort(evaluation.images, {}, &Classified::site);  // sites are sorted by id
  evaluation.figures = figures_of(evaluation.images, setup.dataset);
  return evaluation;
}

bool has_batch_accuracy(const TrainedRun& run, const Evaluation& evaluation) {
  return evaluation.figures.batch && run.setup->recipe.data.split == SplitBy::stratified;
}

namespace {

void evaluate_groups(const EvaluateOptions& options, Device device, Communicator& ranks) {
  const TrainedRun run =
      load_run(options.run, options.split, options.data, options.cache, device, ranks);
  const StatisticsMode mode = statistics_mode(options.statistics, run.setup->recipe);
  const Evaluation evaluation = evaluate(run, mode, ranks);
  if (!ranks.is_root()) return;
  const std::filesystem::path file = write_evaluation(options.run, run, evaluation);
  fmt::print("{}\nwritten: {}\n", evaluation_text(run, evaluation), file.string());
}

void evaluate_features(const EvaluateOptions& options, const Recipe& recipe, Device device,
                       Communicator& ranks) {
  FeatureOptions what;
  what.data = options.data;
  what.cache = options.cache;
  what.statistics = options.statistics;
  what.device = device;
  what.ranks = &ranks;
  const RunFeatures features = features_of(options.run, what);
  if (!ranks.is_root()) return;
  const ViewsEvaluation result = evaluate_views(features, recipe);
  const std::filesystem::path file = write_views_evaluation(options.run, features, recipe, result);
  fmt::print("{}\nwritten: {}\n", views_evaluation_text(features, recipe, result), file.string());
}

}  // namespace

int run_evaluate(const EvaluateOptions& options) {
  if (options.run.empty() == options.embeddings.folder.empty())
    fail(ErrorKind::usage,
         "evaluate: takes either the folder of a run or --embeddings DIR; see train_rxrx evaluate "
         "--help");
  if (options.run.empty()) return run_evaluate_embeddings(options.embeddings, options.compute);
  return on_ranks([&](Communicator& ranks) {
    const Device device = choose_device(options.compute, ranks);
    if (!options.statistics.empty()) parse_statistics_mode(options.statistics);  // before the work
    const Recipe recipe = read_run_recipe(options.run);
    ranks.set_timeout(recipe.ranks.timeout_s);
    check_split(options.run, options.split, recipe);
    if (recipe.batch.form == BatchForm::groups) evaluate_groups(options, device, ranks);
    if (has_views_evaluation(recipe)) evaluate_features(options, recipe, device, ranks);
    return 0;
  });
}

}  // namespace mono
