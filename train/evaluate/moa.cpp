#include "train/evaluate/moa.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/base/error.h"

namespace mono {
namespace {

constexpr double kEpsilon = 1e-8;

// Standardises the rows of a plate by those of `reference`.
void standardise(FeatureView x, const std::vector<int>& reference, const std::vector<int>& rows,
                 Features& out) {
  for (size_t c = 0; c < static_cast<size_t>(x.width); ++c) {
    double mean = 0, variance = 0;
    for (const int i : reference) mean += static_cast<double>(x.row(i)[c]);
    mean /= static_cast<double>(reference.size());
    for (const int i : reference) {
      const double difference = static_cast<double>(x.row(i)[c]) - mean;
      variance += difference * difference;
    }
    variance /= static_cast<double>(reference.size());
    for (const int i : rows)
      out.row(i)[c] = static_cast<float>((static_cast<double>(x.row(i)[c]) - mean) /
                                         (std::sqrt(variance) + kEpsilon));
  }
}

Features standardised_by_plate(FeatureView features, const MoaRows& rows, Moa& result) {
  std::map<int, std::vector<int>> plates, controls;
  for (int i = 0; i < features.rows; ++i) {
    const size_t at = static_cast<size_t>(i);
    plates[rows.plate[at]].push_back(i);
    if (rows.is_control[at]) controls[rows.plate[at]].push_back(i);
  }
  Features out(features.rows, features.width);
  for (const auto& [plate, members] : plates) {
    const std::vector<int>& own = controls[plate];
    const bool enough = own.size() >= 2;
    standardise(features, enough ? own : members, members, out);
    ++result.plates;
    result.whole_plates += !enough;
    if (enough) result.controls += static_cast<int>(own.size());
  }
  return out;
}

// What is known of a treatment; the treatments in rising number.
struct Treatment {
  int number = 0, compound = 0, moa = -1, rows = 0;
  bool control = false;
};

std::map<int, Treatment> treatments_of(const MoaRows& rows) {
  std::map<int, Treatment> treatments;
  for (size_t i = 0; i < rows.treatment.size(); ++i) {
    const int number = rows.treatment[i];
    if (number < 0) continue;
    const int compound = rows.compound.empty() ? number : rows.compound[i];
    const auto [found, fresh] =
        treatments.try_emplace(number, Treatment{number, compound, rows.moa[i], 0, false});
    Treatment& treatment = found->second;
    if (treatment.moa != rows.moa[i] || treatment.compound != compound)
      fail(ErrorKind::data,
           "MoA: treatment {} has mechanism {} and compound {} in one row, {} and {} in row {}",
           number, treatment.moa, treatment.compound, rows.moa[i], compound, i);
    ++treatment.rows;
    treatment.control = treatment.control || rows.is_control[i];
  }
  return treatments;
}

// Means of the rows of each treatment, in the order of `treatments`.
Features treatment_means(const Features& rows, std::span<const int> of,
                         const std::map<int, Treatment>& treatments) {
  Features means(static_cast<int>(treatments.size()), rows.width);
  std::vector<double> sum(static_cast<size_t>(rows.width));
  std::map<int, std::vector<int>> members;
  for (int i = 0; i < rows.rows; ++i) members[of[static_cast<size_t>(i)]].push_back(i);
  int at = 0;
  for (const auto& [number, treatment] : treatments) {
    std::ranges::fill(sum, 0.0);
    for (const int i : members[number])
      for (size_t c = 0; c < sum.size(); ++c) sum[c] += static_cast<double>(rows.row(i)[c]);
    for (size_t c = 0; c < sum.size(); ++c)
      means.row(at)[c] = static_cast<float>(sum[c] / treatment.rows);
    ++at;
  }
  return means;
}

}  // namespace

Moa one_nn_moa(FeatureView features, const MoaRows& rows) {
  const size_t n = static_cast<size_t>(features.rows);
  MONO_CHECK(rows.plate.size() == n && rows.treatment.size() == n && rows.moa.size() == n &&
                 rows.is_control.size() == n &&
                 (rows.compound.empty() || rows.compound.size() == n),
             "one_nn_moa: spans of other lengths than {} rows", n);
  Moa result;
  const std::map<int, Treatment> treatments = treatments_of(rows);
  const Features means = treatment_means(
      l2_normalised(standardised_by_plate(features, rows, result)), rows.treatment, treatments);
  result.candidates = means.rows;

  std::vector<Treatment> all;
  std::vector<int> compounds, asked, asked_compounds;
  for (const auto& [number, treatment] : treatments) {
    if (!treatment.control && treatment.moa >= 0) {
      asked.push_back(static_cast<int>(all.size()));
      asked_compounds.push_back(treatment.compound);
    }
    all.push_back(treatment);
    compounds.push_back(treatment.compound);
  }
  if (asked.empty())
    fail(ErrorKind::data, "MoA: none of {} treatments has a known mechanism", all.size());
  Features queries(static_cast<int>(asked.size()), means.width);
  for (int i = 0; i < queries.rows; ++i)
    std::ranges::copy(means.row(asked[static_cast<size_t>(i)]), queries.row(i).begin());
  const Neighbours found = nearest(queries, means, 1, asked_compounds, compounds);

  result.nearest.assign(static_cast<size_t>(all.back().number) + 1, -1);
  result.accuracy.images = queries.rows;
  for (size_t i = 0; i < asked.size(); ++i) {
    const Treatment& own = all[static_cast<size_t>(asked[i])];
    const Treatment& other = all[static_cast<size_t>(found.index[i])];
    result.nearest[static_cast<size_t>(own.number)] = other.number;
    result.accuracy.correct += !other.control && other.moa == own.moa;
  }
  return result;
}

}  // namespace mono
