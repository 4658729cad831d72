#include "train/evaluate/z_norm.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <vector>

#include "kernels/base/error.h"

namespace mono {
namespace {

constexpr int kBatch = 92;
constexpr double kEpsilon = 1e-8;

// Standardises `rows` by the mean and unbiased standard deviation of `reference`.
void standardise(const Features& x, const std::vector<int>& reference, const std::vector<int>& rows,
                 Features& out) {
  const size_t width = static_cast<size_t>(x.width);
  std::vector<double> mean(width, 0.0), variance(width, 0.0);
  for (const int i : reference)
    for (size_t c = 0; c < width; ++c) mean[c] += static_cast<double>(x.row(i)[c]);
  for (double& value : mean) value /= static_cast<double>(reference.size());
  for (const int i : reference)
    for (size_t c = 0; c < width; ++c) {
      const double difference = static_cast<double>(x.row(i)[c]) - mean[c];
      variance[c] += difference * difference;
    }
  for (size_t c = 0; c < width; ++c) {
    const double scale =
        1.0 / (std::sqrt(variance[c] / static_cast<double>(reference.size() - 1)) + kEpsilon);
    for (const int i : rows)
      out.row(i)[c] = static_cast<float>((static_cast<double>(x.row(i)[c]) - mean[c]) * scale);
  }
}

}  // namespace

const char* name_of(ZNorm mode) {
  switch (mode) {
    case ZNorm::controls:
      return "controls";
    case ZNorm::all:
      return "all";
    case ZNorm::minibatch92:
      return "minibatch92";
  }
  return "";
}

Features z_norm(FeatureView features, std::span<const int> domains,
                std::span<const uint8_t> is_control, ZNorm mode) {
  const size_t rows = static_cast<size_t>(features.rows);
  MONO_CHECK(mode == ZNorm::minibatch92 || domains.size() == rows, "z_norm: {} domains for {} rows",
             domains.size(), rows);
  MONO_CHECK(mode != ZNorm::controls || is_control.size() == rows,
             "z_norm: {} control marks for {} rows", is_control.size(), rows);
  const Features x = l2_normalised(features);
  Features out(features.rows, features.width);

  // The sets of rows that are standardised together, and by which of them.
  struct Set {
    std::vector<int> rows, reference;
  };
  std::map<int, Set> sets;
  const int last_batch = std::max(0, (features.rows - 2) / kBatch);  // of two rows or more
  for (int i = 0; i < features.rows; ++i) {
    const size_t at = static_cast<size_t>(i);
    Set& set = sets[mode == ZNorm::minibatch92 ? std::min(i / kBatch, last_batch) : domains[at]];
    set.rows.push_back(i);
    if (mode != ZNorm::controls || is_control[at]) set.reference.push_back(i);
  }
  for (const auto& [number, set] : sets) {
    if (set.reference.size() < 2)
      fail(ErrorKind::data,
           "Z-norm ({}): {} {} has {} of {} rows to standardise by, and a standard deviation needs "
           "two",
           name_of(mode), mode == ZNorm::minibatch92 ? "batch" : "domain", number,
           set.reference.size(), set.rows.size());
    standardise(x, set.reference, set.rows, out);
  }
  return l2_normalised(out);
}

}  // namespace mono
