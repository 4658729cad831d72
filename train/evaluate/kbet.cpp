#include "train/evaluate/kbet.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "train/evaluate/chi_squared.h"

namespace mono {
namespace {

constexpr int64_t kLeastNeighbours = 10;
constexpr int64_t kLeastPerBatch = 5;
constexpr int64_t kSamplesPerNeighbour = 200;  // K is 0.5 % of the samples
constexpr int64_t kRowsPerUnit = 256;

// Batches renumbered without gaps, and the share of each.
struct Batches {
  std::vector<int> of;
  std::vector<double> share;
};

Batches batches_of(std::span<const int> numbers) {
  std::vector<int> present(numbers.begin(), numbers.end());
  std::ranges::sort(present);
  present.erase(std::ranges::unique(present).begin(), present.end());
  Batches batches;
  std::vector<int64_t> rows(present.size());
  for (const int number : numbers) {
    MONO_CHECK(number >= 0, "kbet: a row has no batch");
    const auto at = std::ranges::lower_bound(present, number) - present.begin();
    batches.of.push_back(static_cast<int>(at));
    ++rows[static_cast<size_t>(at)];
  }
  for (const int64_t count : rows)
    batches.share.push_back(static_cast<double>(count) / static_cast<double>(numbers.size()));
  return batches;
}

}  // namespace

int kbet_neighbours(int64_t samples, int batches) {
  return static_cast<int>(std::max({kLeastNeighbours, samples / kSamplesPerNeighbour,
                                    std::min(kLeastPerBatch * batches, samples / 4)}));
}

Kbet kbet(FeatureView features, std::span<const int> batches, const KbetOptions& options) {
  MONO_CHECK(static_cast<int>(batches.size()) == features.rows, "kbet: {} batches for {} rows",
             batches.size(), features.rows);
  Kbet result;
  result.samples = features.rows;
  const Batches groups = batches_of(batches);
  result.batches = static_cast<int>(groups.share.size());
  if (result.batches < 2)
    fail(ErrorKind::data, "kBET: all {} samples are of one batch; it compares batches",
         features.rows);
  result.neighbours =
      options.neighbours > 0 ? options.neighbours : kbet_neighbours(features.rows, result.batches);
  if (result.neighbours < 2 || features.rows < result.neighbours)
    fail(ErrorKind::data,
         "kBET: a neighbourhood of {} of {} samples cannot be tested: it takes 2 or more, and as "
         "many samples",
         result.neighbours, features.rows);

  const size_t k = static_cast<size_t>(result.neighbours - 1);
  const Neighbours found = nearest_others(features, static_cast<int>(k));
  result.p.resize(batches.size());
  parallel_for((features.rows + kRowsPerUnit - 1) / kRowsPerUnit, [&](int64_t unit, int) {
    std::vector<int> observed(groups.share.size());
    const size_t begin = static_cast<size_t>(unit * kRowsPerUnit);
    const size_t end = std::min(batches.size(), begin + static_cast<size_t>(kRowsPerUnit));
    for (size_t i = begin; i < end; ++i) {
      std::ranges::fill(observed, 0);
      for (size_t n = 0; n < k; ++n)
        ++observed[static_cast<size_t>(groups.of[static_cast<size_t>(found.index[i * k + n])])];
      if (!options.cdcl_compat) ++observed[static_cast<size_t>(groups.of[i])];
      double statistic = 0;
      for (size_t b = 0; b < observed.size(); ++b) {
        const double expected = groups.share[b] * result.neighbours;
        statistic += (observed[b] - expected) * (observed[b] - expected) / expected;
      }
      result.p[i] = chi_squared_upper_tail(statistic, result.batches - 1);
    }
  });
  const int64_t accepted =
      std::ranges::count_if(result.p, [&](double p) { return p >= options.alpha; });
  result.score = static_cast<double>(accepted) / static_cast<double>(result.samples);
  return result;
}

}  // namespace mono
