#include "train/evaluate/trustworthiness.h"

#include <utility>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

constexpr int kRowsPerUnit = 64;

// |x_i - x_j|^2 for every j. The columns come first, so that the sum over them is vectorised
// across rows.
void squared_distances(const std::vector<double>& columns, int rows, int width, int i,
                       std::vector<double>& out) {
  const size_t n = static_cast<size_t>(rows);
  out.assign(n, 0);
  for (size_t c = 0; c < static_cast<size_t>(width); ++c) {
    const double* column = columns.data() + c * n;
    const double own = column[i];
    for (size_t j = 0; j < n; ++j) out[j] += (own - column[j]) * (own - column[j]);
  }
}

}  // namespace

double trustworthiness(FeatureView features, FeatureView layout, int k) {
  const int n = features.rows;
  MONO_CHECK(layout.rows == n && k >= 1, "trustworthiness: {} rows laid out as {}, k = {}", n,
             layout.rows, k);
  if (2 * k >= n)
    fail(ErrorKind::data, "trustworthiness: {} neighbours of {} rows; k must be below half of them",
         k, n);
  const NearestByDistance shown = nearest_by_distance(layout, k);
  std::vector<double> columns(features.values.size());
  for (int i = 0; i < n; ++i)
    for (int c = 0; c < features.width; ++c)
      columns[static_cast<size_t>(c) * static_cast<size_t>(n) + static_cast<size_t>(i)] =
          static_cast<double>(features.row(i)[static_cast<size_t>(c)]);

  // Whole numbers: any order of addition gives the same sum.
  std::vector<int64_t> penalty(static_cast<size_t>(n));
  parallel_for((n + kRowsPerUnit - 1) / kRowsPerUnit, [&](int64_t unit, int) {
    std::vector<double> distance;
    const int begin = static_cast<int>(unit) * kRowsPerUnit;
    for (int i = begin; i < std::min(n, begin + kRowsPerUnit); ++i) {
      squared_distances(columns, n, features.width, i, distance);
      for (int s = 0; s < k; ++s) {
        const int j =
            shown.index[static_cast<size_t>(i) * static_cast<size_t>(k) + static_cast<size_t>(s)];
        const double bound = distance[static_cast<size_t>(j)];
        int64_t rank = 1;
        for (int other = 0; other < n; ++other) {
          const double d = distance[static_cast<size_t>(other)];
          rank += other != i && (d < bound || (d == bound && other < j));
        }
        if (rank > k) penalty[static_cast<size_t>(i)] += rank - k;
      }
    }
  });
  int64_t sum = 0;
  for (const int64_t value : penalty) sum += value;
  const double rows = n, neighbours = k;
  return 1 - 2.0 / (rows * neighbours * (2 * rows - 3 * neighbours - 1)) * static_cast<double>(sum);
}

}  // namespace mono
