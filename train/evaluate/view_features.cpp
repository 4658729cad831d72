#include "train/evaluate/view_features.h"

#include <algorithm>
#include <cmath>

#include "train/data/view_loader.h"
#include "train/evaluate/inference.h"
#include "train/progress.h"

namespace mono {
namespace {

constexpr size_t kImagesPerBatch = 32;

}  // namespace

std::optional<Features> view_features(const RunSetup& setup, const Model& model,
                                      std::span<const int> sites, const char* task,
                                      std::vector<int>* answers,
                                      const std::function<bool()>& abandon) {
  Progress progress(task, static_cast<int64_t>(sites.size()), "images");
  Features features;
  if (answers) answers->clear();
  int row = 0;
  for (size_t at = 0; at < sites.size(); at += kImagesPerBatch) {
    if (abandon && abandon()) return std::nullopt;
    const auto batch = sites.subspan(at, std::min(kImagesPerBatch, sites.size() - at));
    const SegmentTable segments({0, static_cast<int>(batch.size())}, setup.device);
    ForwardContext context;
    context.segments = segments;
    context.norm.source = NormPolicy::Source::table;
    context.norm.table = &model.running();
    const ModelOutput output = model.forward(Variable(evaluation_views(setup, batch, setup.crop)),
                                             context, {.mode = BatchHead::Mode::off});
    const Tensor embedding = output.embedding.value().to(Device::cpu);
    const Tensor logits = answers ? output.y.value().to(Device::cpu) : Tensor();
    if (at == 0) features = Features(static_cast<int>(sites.size()), embedding.shape().back());
    for (int n = 0; n < static_cast<int>(batch.size()); ++n, ++row) {
      const std::vector<float> values = row_of(embedding, n);
      if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
        fail(ErrorKind::diverged, "{}: the features are not finite; the weights have diverged",
             setup.dataset.sites[static_cast<size_t>(batch[static_cast<size_t>(n)])].site_id);
      std::ranges::copy(values, features.row(row).begin());
      if (!answers) continue;
      const std::vector<float> answer = row_of(logits, n);
      answers->push_back(static_cast<int>(std::ranges::max_element(answer) - answer.begin()));
    }
    progress.advance(static_cast<int64_t>(batch.size()));
  }
  return features;
}

}  // namespace mono
