#include "train/evaluate/image_features.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "train/evaluate/inference.h"
#include "train/evaluate/view_features.h"

namespace mono {
namespace {

struct Abandoned {};

Features group_features(const RunSetup& setup, const Model& model, std::span<const int> sites,
                        StatisticsMode mode, const char* task, std::vector<int>* answers,
                        const std::function<bool()>& abandon) {
  std::map<int, int> row_of_site;
  for (const int site : sites) row_of_site.emplace(site, static_cast<int>(row_of_site.size()));
  if (answers) answers->assign(sites.size(), -1);
  Features features;
  const auto visit = [&](std::span<const int> batch, const ModelOutput& output) {
    if (abandon && abandon()) throw Abandoned{};
    if (features.rows == 0)
      features = Features(static_cast<int>(sites.size()), output.embedding.value().shape().back());
    for (int n = 0; n < static_cast<int>(batch.size()); ++n) {
      const int site = batch[static_cast<size_t>(n)], row = row_of_site.at(site);
      const std::vector<float> values = row_of(output.embedding.value(), n);
      if (!std::ranges::all_of(values, [](float value) { return std::isfinite(value); }))
        fail(ErrorKind::diverged, "{}: the features are not finite; the weights have diverged",
             setup.dataset.sites[static_cast<size_t>(site)].site_id);
      std::ranges::copy(values, features.row(row).begin());
      if (!answers) continue;
      const std::vector<float> answer = row_of(output.y.value(), n);
      (*answers)[static_cast<size_t>(row)] =
          static_cast<int>(std::ranges::max_element(answer) - answer.begin());
    }
  };
  forward_images(setup, model, sites, mode, task, visit);
  return features;
}

}  // namespace

std::optional<Features> image_features(const RunSetup& setup, const Model& model,
                                       std::span<const int> sites, StatisticsMode mode,
                                       const char* task, std::vector<int>* answers,
                                       const std::function<bool()>& abandon) {
  if (setup.recipe.batch.form == BatchForm::views)
    return view_features(setup, model, sites, task, answers, abandon);
  try {
    return group_features(setup, model, sites, mode, task, answers, abandon);
  } catch (const Abandoned&) {  // thrown by the visit above and by nothing else
    return std::nullopt;
  }
}

}  // namespace mono
