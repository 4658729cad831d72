#include "train/evaluate/grit.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/base/error.h"
#include "train/evaluate/dense.h"

namespace mono {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();
// Similarities of f32 features are good to about 1e-7; a spread below this is rounding.
constexpr double kLeastStd = 1e-6;

// Rows minus their mean, divided by their norm: Pearson's correlation is then their product.
Matrix correlation_rows(FeatureView profiles) {
  Matrix rows = matrix_of(profiles);
  for (int i = 0; i < rows.rows; ++i) {
    const std::span<double> row = rows.row(i);
    const double mean = std::accumulate(row.begin(), row.end(), 0.0) / profiles.width;
    double norm = 0;
    for (double& value : row) {
      value -= mean;
      norm += value * value;
    }
    if (norm == 0)
      fail(ErrorKind::data, "grit: row {} is constant, which correlates with nothing", i);
    for (double& value : row) value /= std::sqrt(norm);
  }
  return rows;
}

double product(std::span<const double> a, std::span<const double> b) {
  return std::inner_product(a.begin(), a.end(), b.begin(), 0.0);
}

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double median_of(std::vector<double> values) {
  std::ranges::sort(values);
  const size_t half = values.size() / 2;
  return values.size() % 2 ? values[half] : (values[half - 1] + values[half]) / 2;
}

// Mean and standard deviation of each row's similarities to the controls, without the matrix of
// them: <z, mean control> and z^T cov z with the controls' population covariance.
struct ControlSimilarity {
  std::vector<double> mean, std;
};

ControlSimilarity control_similarity(const Matrix& rows, const std::vector<int>& controls) {
  const ColumnMoments moments = column_moments(rows, controls, 0);
  Matrix covariance = gram(centred_rows(rows, controls, moments.mean));
  for (double& value : covariance.values) value /= static_cast<double>(controls.size());
  const Matrix spread = multiply(rows, covariance);
  ControlSimilarity similarity;
  for (int i = 0; i < rows.rows; ++i) {
    similarity.mean.push_back(product(rows.row(i), moments.mean));
    similarity.std.push_back(std::sqrt(std::max(0.0, product(rows.row(i), spread.row(i)))));
  }
  return similarity;
}

void summarise(const std::vector<std::vector<int>>& members, Grit& result) {
  for (size_t group = 0; group < members.size(); ++group) {
    std::vector<double> scores;
    for (const int p : members[group]) {
      const double score = result.of_profile[static_cast<size_t>(p)];
      if (!std::isnan(score)) scores.push_back(score);
    }
    if (scores.empty()) continue;
    result.of_group[group] = mean_of(scores);
    result.mean += result.of_group[group];
    ++result.groups;
  }
  result.mean = result.groups ? result.mean / result.groups : kNan;
  result.control_std = result.profiles ? result.control_std / result.profiles : kNan;
  if (!result.profiles) result.least_control_std = kNan;
}

}  // namespace

Grit grit(FeatureView profiles, std::span<const int> groups, std::span<const uint8_t> is_control,
          std::span<const int> ids, const GritOptions& options) {
  const size_t n = static_cast<size_t>(profiles.rows);
  MONO_CHECK(groups.size() == n && is_control.size() == n && (ids.empty() || ids.size() == n),
             "grit: {} groups, {} control marks, {} ids for {} rows", groups.size(),
             is_control.size(), ids.size(), n);
  std::vector<int> controls;
  std::vector<std::vector<int>> members;
  for (size_t i = 0; i < n; ++i) {
    if (is_control[i]) {
      controls.push_back(static_cast<int>(i));
    } else if (groups[i] >= 0) {
      members.resize(std::max(members.size(), static_cast<size_t>(groups[i]) + 1));
      members[static_cast<size_t>(groups[i])].push_back(static_cast<int>(i));
    }
  }
  if (controls.size() < 2)
    fail(ErrorKind::data, "grit: {} controls among {} rows, and their spread takes two",
         controls.size(), n);

  const Matrix rows = correlation_rows(profiles);
  const ControlSimilarity control = control_similarity(rows, controls);
  Grit result;
  result.controls = static_cast<int>(controls.size());
  result.of_profile.assign(n, kNan);
  result.of_group.assign(members.size(), kNan);
  result.least_control_std = std::numeric_limits<double>::infinity();
  for (const std::vector<int>& group : members)
    for (const int p : group) {
      const size_t at = static_cast<size_t>(p);
      std::vector<double> scores;
      for (const int q : group) {
        const bool same = ids.empty() ? p == q : ids[at] == ids[static_cast<size_t>(q)];
        if (same) continue;
        scores.push_back((product(rows.row(p), rows.row(q)) - control.mean[at]) / control.std[at]);
      }
      if (scores.empty()) {
        ++result.without_replicate;
      } else if (control.std[at] < kLeastStd) {
        ++result.constant_controls;
      } else {
        result.of_profile[at] = options.median ? median_of(scores) : mean_of(scores);
        ++result.profiles;
        result.control_std += control.std[at];
        result.least_control_std = std::min(result.least_control_std, control.std[at]);
      }
    }
  summarise(members, result);
  return result;
}

}  // namespace mono
