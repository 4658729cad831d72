#include "train/evaluate/knn.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "kernels/base/error.h"

namespace mono {
namespace {

// The class with the largest sum of weights over the neighbours; of equal sums the lowest.
int vote(std::span<const int> neighbours, std::span<const float> similarity,
         std::span<const int> labels, double temperature) {
  std::map<int, double> sums;
  for (size_t n = 0; n < neighbours.size(); ++n)
    sums[labels[static_cast<size_t>(neighbours[n])]] +=
        std::exp(static_cast<double>(similarity[n]) / temperature);
  // By rising class: max_element keeps the first of equals.
  return std::ranges::max_element(sums, {}, [](const auto& sum) { return sum.second; })->first;
}

Knn answers(const Neighbours& found, std::span<const int> bank_labels,
            std::span<const int> query_labels, double temperature) {
  Knn result;
  const size_t k = static_cast<size_t>(found.k);
  for (size_t i = 0; i < query_labels.size(); ++i) {
    const int predicted =
        vote(std::span(found.index).subspan(i * k, k),
             std::span(found.similarity).subspan(i * k, k), bank_labels, temperature);
    result.predicted.push_back(predicted);
    if (query_labels[i] < 0) continue;
    ++result.accuracy.images;
    result.accuracy.correct += predicted == query_labels[i];
  }
  return result;
}

}  // namespace

Knn knn(FeatureView bank, std::span<const int> bank_labels, FeatureView queries,
        std::span<const int> query_labels, const KnnOptions& options) {
  MONO_CHECK(static_cast<int>(bank_labels.size()) == bank.rows &&
                 static_cast<int>(query_labels.size()) == queries.rows,
             "knn: {} and {} labels for {} and {} rows", bank_labels.size(), query_labels.size(),
             bank.rows, queries.rows);
  MONO_CHECK(std::ranges::all_of(bank_labels, [](int label) { return label >= 0; }),
             "knn: a row of the bank has no label");
  MONO_CHECK(options.temperature > 0, "knn: temperature {}", options.temperature);
  return answers(nearest(queries, bank, options.k), bank_labels, query_labels, options.temperature);
}

Knn knn_leave_one_out(FeatureView features, std::span<const int> labels,
                      std::span<const int> groups, const KnnOptions& options) {
  MONO_CHECK(static_cast<int>(labels.size()) == features.rows &&
                 (groups.empty() || groups.size() == labels.size()),
             "knn: {} labels and {} groups for {} rows", labels.size(), groups.size(),
             features.rows);
  std::vector<int> rows, kept_labels, kept_groups;
  for (int i = 0; i < features.rows; ++i) {
    if (labels[static_cast<size_t>(i)] < 0) continue;
    rows.push_back(i);
    kept_labels.push_back(labels[static_cast<size_t>(i)]);
    kept_groups.push_back(groups.empty() ? i : groups[static_cast<size_t>(i)]);
  }
  Features kept(static_cast<int>(rows.size()), features.width);
  for (int i = 0; i < kept.rows; ++i)
    std::ranges::copy(features.row(rows[static_cast<size_t>(i)]), kept.row(i).begin());
  Knn result = answers(nearest(kept, kept, options.k, kept_groups, kept_groups), kept_labels,
                       kept_labels, options.temperature);
  std::vector<int> predicted(static_cast<size_t>(features.rows), -1);
  for (size_t i = 0; i < rows.size(); ++i)
    predicted[static_cast<size_t>(rows[i])] = result.predicted[i];
  result.predicted = std::move(predicted);
  return result;
}

}  // namespace mono
