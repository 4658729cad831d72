#include "train/evaluate/inference.h"

#include <algorithm>
#include <iterator>
#include <map>

#include "nn/domain/adabn.h"
#include "train/data/batch.h"
#include "train/data/planes_upload.h"
#include "train/data/read_ahead.h"
#include "train/data/view_loader.h"
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

// The images of batches, as the network takes them, in the order in which they are asked for.
class BatchImages {
 public:
  BatchImages(const RunSetup& setup, std::vector<std::span<const int>> order)
      : setup_(setup), order_(std::move(order)), upload_(setup.device) {
    if (setup.recipe.batch.form == BatchForm::groups)
      reader_.emplace(
          0, static_cast<int64_t>(order_.size()), setup.recipe.loader.workers,
          [this](int64_t batch) { return read_batch(setup_, order_[static_cast<size_t>(batch)]); });
  }

  Tensor next(std::span<const int> expected) {
    if (!reader_) return evaluation_views(setup_, expected, setup_.crop);
    RawBatch raw = reader_->next();
    raw.planes = upload_(raw.planes);
    MONO_CHECK(std::ranges::equal(raw.sites, expected), "batches out of order");
    return make_batch(setup_, raw).images;
  }

 private:
  const RunSetup& setup_;
  const std::vector<std::span<const int>> order_;
  PlanesUpload upload_;
  std::optional<ReadAhead<RawBatch>> reader_;  // of groups
};

// The plan's batches that this rank forwards, in order: of each list every size-th.
std::vector<std::span<const int>> share_of_rank(const std::vector<Domain>& plan,
                                                const Communicator& ranks) {
  std::vector<std::span<const int>> order;
  const size_t size = static_cast<size_t>(ranks.size());
  for (const Domain& domain : plan)
    for (const Batches* batches : {&domain.groups, &domain.batches})
      for (size_t b = static_cast<size_t>(ranks.rank()); b < batches->size(); b += size)
        order.emplace_back((*batches)[b]);
  return order;
}

ModelOutput on_host(const ModelOutput& output) {
  const auto copy = [](const Variable& x) {
    return x.defined() ? Variable(x.value().to(Device::cpu)) : x;
  };
  return {copy(output.y), copy(output.batch), copy(output.embedding)};
}

// What the ranks have for the batches of one round, batch r from rank r, on each of them.
std::vector<ModelOutput> exchange(Communicator& ranks, const ModelOutput& own,
                                  std::span<const std::vector<int>> round) {
  if (ranks.size() == 1) return {own};
  constexpr Variable ModelOutput::*kParts[] = {&ModelOutput::y, &ModelOutput::batch,
                                               &ModelOutput::embedding};
  struct Form {
    int columns[std::size(kParts)] = {};  // 0: there is no such output
    DType dtype[std::size(kParts)] = {};
  } form;
  for (size_t i = 0; i < std::size(kParts); ++i)
    if (const Variable& part = own.*kParts[i]; part.defined()) {
      form.columns[i] = part.shape().back();
      form.dtype[i] = part.dtype();
    }
  form = ranks.of_root(form);  // which has a batch
  const int most = static_cast<int>(std::ranges::max(round, {}, &std::vector<int>::size).size());
  std::vector<ModelOutput> all(round.size());
  for (size_t i = 0; i < std::size(kParts); ++i) {
    if (form.columns[i] == 0) continue;
    const Tensor table = Tensor::zeros({ranks.size() * most, form.columns[i]}, form.dtype[i]);
    const auto rows = [&](size_t rank) {
      const int first = static_cast<int>(rank) * most;
      return table.images(first, first + static_cast<int>(round[rank].size()));
    };
    if (const size_t rank = static_cast<size_t>(ranks.rank()); rank < round.size())
      rows(rank).copy_from((own.*kParts[i]).value());
    ranks.gather_rows(table);
    for (size_t r = 0; r < round.size(); ++r) all[r].*kParts[i] = Variable(rows(r));
  }
  return all;
}

}  // namespace

std::optional<ExperimentStatistics> forward_images(const RunSetup& setup, const Model& model,
                                                   std::span<const int> sites,
                                                   const InferenceOptions& options,
                                                   const VisitOutputs& visit) {
  Communicator& ranks = *options.ranks;
  const size_t size = static_cast<size_t>(ranks.size()), rank = static_cast<size_t>(ranks.rank());
  const bool views = setup.recipe.batch.form == BatchForm::views;
  const bool own_statistics = !views && options.mode == StatisticsMode::experiment;
  const std::vector<Domain> plan =
      plan_of(setup, sites, views ? StatisticsMode::running : options.mode);
  const BatchHead head =
      views ? BatchHead{.mode = BatchHead::Mode::off} : batch_head_at(setup.recipe, 1);
  BatchImages images(setup, share_of_rank(plan, ranks));
  std::optional<Progress> progress;
  if (ranks.is_root())
    progress.emplace(options.task, static_cast<int64_t>(sites.size()) * (own_statistics ? 2 : 1),
                     "images");
  const auto advance = [&](const Batches& batches, size_t first) {  // by a round
    for (size_t b = first; b < std::min(batches.size(), first + size) && progress; ++b)
      progress->advance(static_cast<int64_t>(batches[b].size()));
  };
  const auto forward = [&](std::span<const int> batch, const ForwardContext& context) {
    ranks.moving("forwarding images");
    return model.forward(Variable(images.next(batch)), context, head);
  };

  ForwardContext context;
  context.observer = options.observer;
  context.norm.source = !views && options.mode == StatisticsMode::group ? NormPolicy::Source::batch
                                                                        : NormPolicy::Source::table;
  context.norm.table = &model.running();
  ExperimentStatistics own;
  if (own_statistics) {
    own.table = NormStatistics(model.norms(), static_cast<int>(plan.size()),
                               model.running().mean().dtype(), setup.device);
    context.norm.table = &own.table;
  }
  for (const Domain& domain : plan) {
    const int row = static_cast<int>(own.experiments.size());
    if (own_statistics) {
      size_t round = 0;
      const auto before_round = [&] {
        advance(domain.groups, size * round++);
        return options.abandon && options.abandon();
      };
      if (!domain_statistics(model.norms(), domain.groups, forward, own.table, row, ranks,
                             before_round))
        return std::nullopt;
      own.experiments.push_back(domain.experiment);
      context.norm.row_of_segment = {&row, 1};
    }
    for (size_t first = 0; first < domain.batches.size(); first += size) {
      if (ranks.any(options.abandon && options.abandon())) return std::nullopt;
      const auto round =
          std::span(domain.batches).subspan(first, std::min(size, domain.batches.size() - first));
      ModelOutput output;
      if (rank < round.size()) {
        const SegmentTable segments({0, static_cast<int>(round[rank].size())}, setup.device);
        context.segments = segments;
        output = on_host(forward(round[rank], context));
      }
      const std::vector<ModelOutput> outputs = exchange(ranks, output, round);
      for (size_t r = 0; r < round.size(); ++r) visit(round[r], outputs[r]);
      advance(domain.batches, first);
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
