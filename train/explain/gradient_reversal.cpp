#include "train/explain/gradient_reversal.h"

#include <algorithm>
#include <cmath>

#include "nn/functional/cross_entropy.h"
#include "train/data/loader.h"
#include "train/evaluate/inference.h"
#include "train/explain/domain_probe.h"
#include "train/explain/layer_recorder.h"

namespace mono {
namespace {

constexpr int64_t kMostGroups = 16;

// One head's loss and gradient: sums over groups.
struct HeadGradient {
  std::vector<double> values;  // flat, as the arena
  double loss = 0;
};

// Adds what a group gives. main: the classifier's loss; otherwise the batch head's, whose gradient
// then reaches the layers below unchanged.
void add_group(Model& model, const Batch& batch, bool main, const Tensor& flat, HeadGradient& sum) {
  Tape tape;
  const SegmentTable segment({0, batch.images.shape()[0]}, model.device());
  ForwardContext context;
  context.tape = &tape;
  context.segments = segment;
  BatchHead head;
  head.mode = main ? BatchHead::Mode::off : BatchHead::Mode::reversed;
  head.lambda = -1;  // reversed twice: the plain gradient
  const ModelOutput output = model.forward(Variable(batch.images), context, head);
  sum.loss += main ? soft_cross_entropy(output.y, batch.targets, 1.0, context)
                   : soft_cross_entropy(output.batch, batch.batch_targets, 1.0, context);
  model.arena().begin_gradients(flat);
  tape.backward();
  model.arena().finish_gradients();
  const Tensor host = flat.to(Device::cpu);
  dispatch_master(host.dtype(), [&]<class M>() {
    const std::span<const M> values = host.span<M>();
    for (size_t i = 0; i < values.size(); ++i) sum.values[i] += static_cast<double>(values[i]);
  });
}

bool is_shared(const Parameter& parameter) {
  return !parameter.name.starts_with("head.") && !parameter.name.starts_with("batch_head.");
}

// Products over one or several parameters' pieces.
struct Products {
  double main = 0, batch = 0, both = 0;
  int64_t elements = 0;
};

GradientLayer layer_of(const std::string& name, const Products& p, double lambda, double weight) {
  GradientLayer layer;
  layer.name = name;
  layer.elements = p.elements;
  layer.main = std::sqrt(p.main);
  layer.batch = weight * std::sqrt(p.batch);
  // The norm of g_main + factor w g_batch, and its cosine with g_batch.
  const auto norm = [&](double factor) {
    const double f = factor * weight;
    return std::sqrt(std::max(0.0, p.main + 2 * f * p.both + f * f * p.batch));
  };
  const auto cosine = [&](double factor) {
    const double length = norm(factor) * std::sqrt(p.batch);
    return length > 0 ? (p.both + factor * weight * p.batch) / length : 0.0;
  };
  const double lengths = std::sqrt(p.main * p.batch);
  layer.cosine = lengths > 0 ? p.both / lengths : 0.0;
  layer.sum = norm(-lambda);
  layer.cosine_before = cosine(1);
  layer.cosine_after = cosine(-lambda);
  return layer;
}

void add_gradients(const TrainedRun& run, GradientReversalExplanation& result) {
  const RunSetup& setup = *run.setup;
  Model& model = *run.model;
  const int64_t per_step = setup.recipe.batch.groups;
  const int64_t steps = std::clamp(kMostGroups / per_step, int64_t{1}, steps_per_epoch(setup));
  Loader loader(setup, 0, steps, static_cast<int>(setup.recipe.loader.workers));
  const Tensor flat = model.arena().new_array();
  HeadGradient main, batch;
  for (HeadGradient* head : {&main, &batch})
    head->values.resize(static_cast<size_t>(model.arena().size()));
  result.groups = steps * per_step;
  for (int64_t g = 0; g < result.groups; ++g) {
    const Batch group = make_batch(setup, loader.next(), setup.recipe.augment.label_smoothing);
    result.images += group.images.shape()[0];
    add_group(model, group, true, flat, main);
    add_group(model, group, false, flat, batch);
  }
  const double groups = static_cast<double>(result.groups);
  result.main_loss = main.loss / groups;
  result.batch_loss = batch.loss / groups;

  Products all;
  for (const Parameter& parameter : model.arena().parameters()) {
    if (!is_shared(parameter)) continue;
    Products own;
    own.elements = parameter.elements();
    for (int64_t i = parameter.offset; i < parameter.offset + own.elements; ++i) {
      const double m = main.values[static_cast<size_t>(i)] / groups;
      const double b = batch.values[static_cast<size_t>(i)] / groups;
      own.main += m * m;
      own.batch += b * b;
      own.both += m * b;
    }
    all.main += own.main;
    all.batch += own.batch;
    all.both += own.both;
    all.elements += own.elements;
    if (parameter.shape.rank() > 1)
      result.layers.push_back(layer_of(parameter.name, own, result.lambda, result.weight));
  }
  result.all = layer_of("all shared parameters", all, result.lambda, result.weight);
}

// Forwards some images and asks both the batch head and fresh probes for their experiment.
ReadableExperiment read_experiment(const TrainedRun& run, std::span<const int> sites,
                                   const std::string& part, bool head_knows, int per_experiment,
                                   int in_all) {
  const RunSetup& setup = *run.setup;
  const ImageChoice choice =
      choose_images(setup.dataset, sites, per_experiment, in_all, setup.recipe.seed);
  const int experiments = static_cast<int>(choice.experiments.size());
  ReadableExperiment result;
  result.part = part;
  result.experiments = experiments;
  result.bank = std::ranges::count(choice.in_bank, uint8_t{1});
  result.queries = static_cast<int64_t>(choice.sites.size()) - result.bank;
  result.chance = chance_of(choice.domain, experiments, choice.in_bank);

  LayerRecorder recorder(choice);
  Features embedding;
  Share head;
  const auto visit = [&](std::span<const int> batch, const ModelOutput& output) {
    recorder.end_of_batch(batch);
    if (embedding.rows == 0)
      embedding = Features(static_cast<int>(choice.sites.size()), output.embedding.shape().back());
    for (size_t n = 0; n < batch.size(); ++n) {
      const auto row = std::ranges::lower_bound(choice.sites, batch[n]) - choice.sites.begin();
      const int image = static_cast<int>(n);
      std::ranges::copy(row_of(output.embedding.value(), image),
                        embedding.row(static_cast<int>(row)).begin());
      if (!head_knows || choice.in_bank[static_cast<size_t>(row)]) continue;
      const std::vector<float> logits = row_of(output.batch.value(), image);
      ++head.images;
      head.correct +=
          std::ranges::max_element(logits) - logits.begin() ==
          choice.experiments[static_cast<size_t>(choice.domain[static_cast<size_t>(row)])];
    }
  };
  forward_images(setup, *run.model, choice.sites,
                 {.task = part, .mode = statistics_mode("", setup.recipe), .observer = &recorder},
                 visit);
  const auto probe = [&](FeatureView features) {
    return probe_domain(features, choice.domain, experiments, choice.in_bank, setup.recipe.seed);
  };
  if (head_knows && head.images > 0) result.head = head;
  result.probe = probe(embedding);
  for (const LayerRecord& layer : recorder.layers())
    result.layers.push_back({layer.name, probe(layer.pooled)});
  return result;
}

}  // namespace

GradientReversalExplanation explain_gradient_reversal(const TrainedRun& run, int per_experiment,
                                                      int in_all) {
  const RunSetup& setup = *run.setup;
  const Recipe& recipe = setup.recipe;
  if (recipe.batch.form == BatchForm::views)
    fail(ErrorKind::usage,
         "explain gradient-reversal: this run ({}) was trained on views and has no batch head; use "
         "`explain centring` for a run of method dino",
         recipe.name);
  if (recipe.batch_head.mode == BatchHeadMode::none)
    fail(ErrorKind::usage,
         "explain gradient-reversal: this run ({}) has no batch head (batch_head.mode = none); "
         "train one with mode reversed, or with detached to see what it would do; `explain adabn` "
         "works for this run",
         recipe.name);

  GradientReversalExplanation result;
  result.reversed = recipe.batch_head.mode == BatchHeadMode::reversed;
  result.weight = recipe.batch_head.weight;
  const double steps = static_cast<double>(steps_per_epoch(setup) * recipe.train.epochs);
  const double last = static_cast<double>(std::max<int64_t>(0, run.step - 1));
  result.lambda = batch_head_at(recipe, std::min(1.0, last / steps)).lambda;
  add_gradients(run, result);

  // The head has learnt the experiments of the training images, and no others.
  if (recipe.data.split == SplitBy::stratified) {
    result.readable.push_back(
        read_experiment(run, setup.split.test, "test images", true, per_experiment, in_all));
    return result;
  }
  result.readable.push_back(
      read_experiment(run, setup.split.train, "training images", true, per_experiment, in_all));
  result.readable.back().of_training = true;
  if (!setup.split.test.empty())
    result.readable.push_back(read_experiment(run, setup.split.test, "unseen experiments", false,
                                              per_experiment, in_all));
  return result;
}

}  // namespace mono
