#include "train/evaluate/inference.h"

#include <algorithm>
#include <map>

#include "nn/domain/adabn.h"
#include "train/data/batch.h"
#include "train/data/planes_upload.h"
#include "train/data/read_ahead.h"
#include "train/progress.h"

namespace mono {
namespace {

// Images a batch where the statistics are given and the batch size decides nothing.
constexpr size_t kImagesPerBatch = 32;

using Batches = std::vector<std::vector<int>>;

// What is forwarded with one set of statistics, in this order.
struct Domain {
  int experiment = -1;  // -1: images of many
  Batches groups;       // pass 1; empty where no statistics are to be computed first
  Batches batches;      // pass 2
};

Batches cut(std::span<const int> sites) {
  Batches batches;
  for (size_t i = 0; i < sites.size(); i += kImagesPerBatch) {
    const auto piece = sites.subspan(i, std::min(kImagesPerBatch, sites.size() - i));
    batches.emplace_back(piece.begin(), piece.end());
  }
  return batches;
}

std::vector<Domain> plan_of(const RunSetup& setup, std::span<const int> sites,
                            StatisticsMode mode) {
  std::vector<int> sorted(sites.begin(), sites.end());
  std::ranges::sort(sorted);
  if (mode == StatisticsMode::running) return {{-1, {}, cut(sorted)}};
  std::map<int, std::vector<int>> by_experiment;
  for (const int site : sorted)
    by_experiment[setup.dataset.sites[static_cast<size_t>(site)].experiment].push_back(site);
  std::vector<Domain> plan;
  for (const auto& [experiment, images] : by_experiment) {
    if (images.size() < 2)
      fail(ErrorKind::data,
           "{}: experiment {} has a single image to evaluate, too few for statistics of its own; "
           "leave it out (data.experiments) or use --statistics running",
           setup.dataset.root.string(), setup.dataset.experiments[static_cast<size_t>(experiment)]);
    Batches groups = balanced_groups(images, static_cast<int>(setup.recipe.batch.group_size),
                                     setup.recipe.seed, static_cast<uint32_t>(experiment));
    if (mode == StatisticsMode::group)
      plan.push_back({experiment, {}, std::move(groups)});
    else
      plan.push_back({experiment, std::move(groups), cut(images)});
  }
  return plan;
}

// The plan's batches in the order in which they are forwarded.
std::vector<const std::vector<int>*> order_of(const std::vector<Domain>& plan) {
  std::vector<const std::vector<int>*> order;
  for (const Domain& domain : plan)
    for (const Batches* batches : {&domain.groups, &domain.batches})
      for (const auto& batch : *batches) order.push_back(&batch);
  return order;
}

ModelOutput on_host(const ModelOutput& output) {
  const auto copy = [](const Variable& x) {
    return x.defined() ? Variable(x.value().to(Device::cpu)) : x;
  };
  return {copy(output.y), copy(output.batch), copy(output.embedding)};
}

}  // namespace

ExperimentStatistics forward_images(const RunSetup& setup, const Model& model,
                                    std::span<const int> sites, StatisticsMode mode,
                                    const char* task, const VisitOutputs& visit,
                                    NormObserver* observer) {
  const std::vector<Domain> plan = plan_of(setup, sites, mode);
  const BatchHead head = batch_head_at(setup.recipe, 1);
  const auto order = order_of(plan);
  ReadAhead<RawBatch> reader(
      0, static_cast<int64_t>(order.size()), setup.recipe.loader.workers,
      [&](int64_t batch) { return read_batch(setup, *order[static_cast<size_t>(batch)]); });
  PlanesUpload upload(setup.device);
  const int64_t passes = mode == StatisticsMode::experiment ? 2 : 1;
  Progress progress(task, static_cast<int64_t>(sites.size()) * passes, "images");

  auto forward = [&](std::span<const int> expected, const ForwardContext& context) {
    RawBatch raw = reader.next();
    raw.planes = upload(raw.planes);
    MONO_CHECK(std::ranges::equal(raw.sites, expected), "batches out of order");
    const ModelOutput output =
        model.forward(Variable(make_batch(setup, raw).images), context, head);
    progress.advance(static_cast<int64_t>(expected.size()));
    return output;
  };

  ForwardContext context;
  context.observer = observer;
  context.norm.source =
      mode == StatisticsMode::group ? NormPolicy::Source::batch : NormPolicy::Source::table;
  context.norm.table = &model.running();
  ExperimentStatistics own;
  if (mode == StatisticsMode::experiment) {
    own.table = NormStatistics(model.norms(), static_cast<int>(plan.size()),
                               model.running().mean().dtype(), setup.device);
    context.norm.table = &own.table;
  }
  for (const Domain& domain : plan) {
    const int row = static_cast<int>(own.experiments.size());
    if (mode == StatisticsMode::experiment) {
      domain_statistics(model.norms(), domain.groups, forward, own.table, row);
      own.experiments.push_back(domain.experiment);
      context.norm.row_of_segment = {&row, 1};
    }
    for (const std::vector<int>& batch : domain.batches) {
      const SegmentTable segments({0, static_cast<int>(batch.size())}, setup.device);
      context.segments = segments;
      visit(batch, on_host(forward(batch, context)));
    }
  }
  return own;
}

std::vector<float> row_of(const Tensor& matrix, int image) {
  const int columns = matrix.shape().back();
  std::vector<float> row(static_cast<size_t>(columns));
  dispatch_activation(matrix.dtype(), [&]<class T>() {
    const T* from = matrix.data<T>() + int64_t{image} * columns;
    std::transform(from, from + columns, row.begin(),
                   [](T value) { return static_cast<float>(value); });
  });
  return row;
}

}  // namespace mono
