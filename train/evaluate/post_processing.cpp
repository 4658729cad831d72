#include "train/evaluate/post_processing.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numeric>
#include <vector>

#include "kernels/base/error.h"
#include "train/evaluate/dense.h"

namespace mono {
namespace {

constexpr double kNoVariance = 1e-10;  // of an eigenvalue, beside the largest

std::vector<int> marked(std::span<const uint8_t> marks) {
  std::vector<int> rows;
  for (size_t i = 0; i < marks.size(); ++i)
    if (marks[i]) rows.push_back(static_cast<int>(i));
  return rows;
}

std::map<int, std::vector<int>> rows_by(std::span<const int> numbers) {
  std::map<int, std::vector<int>> rows;
  for (size_t i = 0; i < numbers.size(); ++i) rows[numbers[i]].push_back(static_cast<int>(i));
  return rows;
}

// x <- (x - mean) scale, by column.
void affine(Matrix& x, std::span<const double> mean, std::span<const double> scale) {
  for (int i = 0; i < x.rows; ++i)
    for (size_t c = 0; c < mean.size(); ++c) x.row(i)[c] = (x.row(i)[c] - mean[c]) * scale[c];
}

constexpr double kRounding = 1e-20;  // of a variance, beside the mean squared

// 1 / standard deviation; 1 for a column that does not vary.
std::vector<double> inverse_std(const ColumnMoments& moments) {
  std::vector<double> scale;
  for (size_t c = 0; c < moments.mean.size(); ++c) {
    const double variance = moments.variance[c];
    const bool varies = variance > kRounding * moments.mean[c] * moments.mean[c];
    scale.push_back(varies ? 1.0 / std::sqrt(variance) : 1.0);
  }
  return scale;
}

Matrix covariance_of(const Matrix& x, std::span<const int> rows) {
  Matrix covariance = gram(centred_rows(x, rows, column_moments(x, rows, 1).mean));
  for (double& value : covariance.values) value /= static_cast<double>(rows.size() - 1);
  return covariance;
}

void standardise_by(Matrix& x, const std::vector<int>& rows) {
  const ColumnMoments moments = column_moments(x, rows, 0);
  affine(x, moments.mean, inverse_std(moments));
}

}  // namespace

Whitened whiten(FeatureView features, std::span<const uint8_t> fit, Whitening method) {
  constexpr double kEpsilon = 1e-6;
  MONO_CHECK(static_cast<int>(fit.size()) == features.rows, "whiten: {} marks for {} rows",
             fit.size(), features.rows);
  const std::vector<int> rows = marked(fit);
  if (rows.size() < 2)
    fail(ErrorKind::data, "whitening: {} of {} rows to fit, and a covariance takes two",
         rows.size(), features.rows);
  Matrix x = matrix_of(features);
  const ColumnMoments moments = column_moments(x, rows, 1);
  affine(x, moments.mean,
         method == Whitening::zca_cor ? inverse_std(moments)
                                      : std::vector<double>(moments.mean.size(), 1.0));
  const SymmetricEigen eigen = symmetric_eigen(covariance_of(x, rows));
  const double least = kNoVariance * eigen.values.back();
  Whitened result;
  result.fitted = static_cast<int>(rows.size());
  result.rank = static_cast<int>(
      std::ranges::count_if(eigen.values, [&](double value) { return value > least; }));
  result.features =
      features_of(multiply(x, symmetric_function(eigen, [&](double value) {
                             return value > least ? 1.0 / (std::sqrt(value) + kEpsilon) : 0.0;
                           })));
  return result;
}

Tvn tvn(FeatureView features, std::span<const int> domains, std::span<const uint8_t> is_control) {
  constexpr double kRidge = 0.5;
  MONO_CHECK(
      static_cast<int>(domains.size()) == features.rows && is_control.size() == domains.size(),
      "tvn: {} domains and {} control marks for {} rows", domains.size(), is_control.size(),
      features.rows);
  Tvn result;
  const std::vector<int> controls = marked(is_control);
  result.controls = result.least_controls = static_cast<int>(controls.size());
  const std::map<int, std::vector<int>> members = rows_by(domains);
  std::map<int, std::vector<int>> own_controls;
  for (const int row : controls) own_controls[domains[static_cast<size_t>(row)]].push_back(row);
  for (const auto& [domain, rows] : members) {
    const int count = static_cast<int>(own_controls[domain].size());
    if (count < 2)
      fail(ErrorKind::data, "TVN: domain {} has {} controls among {} rows; a covariance takes two",
           domain, count, rows.size());
    result.least_controls = std::min(result.least_controls, count);
  }

  Matrix x = matrix_of(features);
  standardise_by(x, controls);
  // Principal components, the largest first.
  const std::vector<double> centre = column_moments(x, controls, 1).mean;
  const SymmetricEigen eigen = symmetric_eigen(covariance_of(x, controls));
  const double least = kNoVariance * std::max(eigen.values.back(), 0.0);
  std::vector<int> kept;
  for (int c = x.columns - 1; c >= 0; --c)
    if (eigen.values[static_cast<size_t>(c)] > least) kept.push_back(c);
  if (kept.empty())
    fail(ErrorKind::data, "TVN: the {} controls do not vary at all", controls.size());
  Matrix components(x.columns, static_cast<int>(kept.size()));
  for (int i = 0; i < x.columns; ++i)
    for (size_t c = 0; c < kept.size(); ++c)
      components.row(i)[c] = eigen.vectors.row(i)[static_cast<size_t>(kept[c])];
  affine(x, centre, std::vector<double>(centre.size(), 1.0));
  x = multiply(x, components);
  standardise_by(x, controls);

  for (const auto& [domain, rows] : members) {
    Matrix covariance = covariance_of(x, own_controls[domain]);
    for (int c = 0; c < covariance.rows; ++c) covariance.row(c)[static_cast<size_t>(c)] += kRidge;
    const Matrix root = symmetric_function(symmetric_eigen(covariance),
                                           [](double value) { return 1.0 / std::sqrt(value); });
    const std::vector<double> zero(static_cast<size_t>(x.columns), 0.0);
    const Matrix aligned = multiply(centred_rows(x, rows, zero), root);
    for (int i = 0; i < aligned.rows; ++i)
      std::ranges::copy(aligned.row(i), x.row(rows[static_cast<size_t>(i)]).begin());
  }
  result.features = features_of(x);
  return result;
}

namespace {

// One batch's shift and scale by column, shrunk (sva's it.sol).
struct Shrunk {
  std::vector<double> shift, scale;
};

double mean_of(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}
double variance_of(const std::vector<double>& values) {
  const double mean = mean_of(values);
  double sum = 0;
  for (const double value : values) sum += (value - mean) * (value - mean);
  return sum / static_cast<double>(values.size() - 1);
}

Shrunk shrink(const std::vector<int>& rows, const ColumnMoments& own) {
  constexpr double kConverged = 1e-4;  // sva's; the divisors keep their sign, as there
  constexpr int kMostRounds = 10'000;
  const double n = static_cast<double>(rows.size());
  const double shift_mean = mean_of(own.mean), shift_variance = variance_of(own.mean);
  const double scale_mean = mean_of(own.variance), scale_variance = variance_of(own.variance);
  if (!(shift_variance > 0 && scale_variance > 0))
    fail(ErrorKind::data,
         "ComBat: a batch of {} rows is shifted or scaled alike in all features; its prior has no "
         "width",
         rows.size());
  const double a = (2 * scale_variance + scale_mean * scale_mean) / scale_variance;
  const double b =
      (scale_mean * scale_variance + scale_mean * scale_mean * scale_mean) / scale_variance;
  Shrunk now{own.mean, own.variance};
  for (int round = 0; round < kMostRounds; ++round) {
    double change = -std::numeric_limits<double>::infinity();
    for (size_t c = 0; c < own.mean.size(); ++c) {
      const double shift = (shift_variance * n * own.mean[c] + now.scale[c] * shift_mean) /
                           (shift_variance * n + now.scale[c]);
      // sum of (x - shift)^2 around the batch's own mean
      const double off = own.mean[c] - shift;
      const double squares = own.variance[c] * (n - 1) + n * off * off;
      const double scale = (0.5 * squares + b) / (n / 2 + a - 1);
      change = std::max({change, std::abs(shift - now.shift[c]) / now.shift[c],
                         std::abs(scale - now.scale[c]) / now.scale[c]});
      now.shift[c] = shift;
      now.scale[c] = scale;
    }
    if (change <= kConverged) return now;
  }
  fail(ErrorKind::data, "ComBat: the estimates of a batch of {} rows did not settle in {} rounds",
       rows.size(), kMostRounds);
}

// The columns that vary within batches, and what ComBat standardises them by.
struct Pooled {
  std::vector<int> columns;
  std::vector<double> mean, std;
};

Pooled pooled(const Matrix& x, const std::map<int, std::vector<int>>& members) {
  const size_t width = static_cast<size_t>(x.columns);
  std::vector<double> mean(width), variance(width);
  for (const auto& [domain, rows] : members) {
    const ColumnMoments own = column_moments(x, rows, 0);
    const double share = static_cast<double>(rows.size()) / x.rows;
    for (size_t c = 0; c < width; ++c) {
      mean[c] += share * own.mean[c];
      variance[c] += share * own.variance[c];
    }
  }
  Pooled result;
  for (size_t c = 0; c < width; ++c) {
    if (!(variance[c] > kRounding * mean[c] * mean[c])) continue;
    result.columns.push_back(static_cast<int>(c));
    result.mean.push_back(mean[c]);
    result.std.push_back(std::sqrt(variance[c]));
  }
  return result;
}

}  // namespace

Combat combat(FeatureView features, std::span<const int> domains) {
  MONO_CHECK(static_cast<int>(domains.size()) == features.rows, "combat: {} domains for {} rows",
             domains.size(), features.rows);
  const std::map<int, std::vector<int>> members = rows_by(domains);
  if (members.size() < 2)
    fail(ErrorKind::data, "ComBat: all {} rows are of one domain; it compares them", features.rows);
  for (const auto& [domain, rows] : members)
    if (rows.size() < 2)
      fail(ErrorKind::data, "ComBat: domain {} has one row; a variance takes two", domain);

  const Matrix x = matrix_of(features);
  const Pooled pool = pooled(x, members);
  Combat result;
  result.domains = static_cast<int>(members.size());
  result.constant_features = x.columns - static_cast<int>(pool.columns.size());
  if (pool.columns.size() < 2)
    fail(ErrorKind::data, "ComBat: {} of {} features vary within domains, and a prior takes two",
         pool.columns.size(), x.columns);
  Matrix z(x.rows, static_cast<int>(pool.columns.size()));
  for (int i = 0; i < x.rows; ++i)
    for (size_t c = 0; c < pool.columns.size(); ++c)
      z.row(i)[c] = (x.row(i)[static_cast<size_t>(pool.columns[c])] - pool.mean[c]) / pool.std[c];

  result.features = Features(features.rows, features.width);
  std::ranges::copy(features.values, result.features.values.begin());
  for (const auto& [domain, rows] : members) {
    const Shrunk batch = shrink(rows, column_moments(z, rows, 1));
    for (const int i : rows)
      for (size_t c = 0; c < pool.columns.size(); ++c)
        result.features.row(i)[static_cast<size_t>(pool.columns[c])] = static_cast<float>(
            (z.row(i)[c] - batch.shift[c]) / std::sqrt(batch.scale[c]) * pool.std[c] +
            pool.mean[c]);
  }
  return result;
}

}  // namespace mono
