#include "train/evaluate/image_features.h"

#include <algorithm>
#include <cmath>
#include <map>

namespace mono {

std::optional<Features> image_features(const RunSetup& setup, const Model& model,
                                       std::span<const int> sites, const InferenceOptions& options,
                                       std::vector<int>* answers) {
  std::map<int, int> row_of_site;
  for (const int site : sites) row_of_site.emplace(site, static_cast<int>(row_of_site.size()));
  if (answers) answers->assign(sites.size(), -1);
  Features features;
  const auto visit = [&](std::span<const int> batch, const ModelOutput& output) {
    if (features.rows == 0)
      features = Features(static_cast<int>(sites.size()), output.embedding.shape().back());
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
  if (!forward_images(setup, model, sites, options, visit)) return std::nullopt;
  return features;
}

}  // namespace mono
