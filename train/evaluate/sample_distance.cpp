#include "train/evaluate/sample_distance.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/base/error.h"

namespace mono {
namespace {

std::vector<double> sorted(std::span<const double> sample) {
  if (sample.empty()) fail(ErrorKind::data, "the distance of two samples: one of them is empty");
  for (const double value : sample)
    if (!std::isfinite(value))
      fail(ErrorKind::data, "the distance of two samples: a value is not finite");
  std::vector<double> values(sample.begin(), sample.end());
  std::ranges::sort(values);
  return values;
}

// Calls visit(x, next x, F(x) - G(x)) for every distinct x of both samples; after the last one
// next x = x.
template <class Visit>
void walk(std::span<const double> a, std::span<const double> b, const Visit& visit) {
  const std::vector<double> x = sorted(a), y = sorted(b);
  size_t i = 0, j = 0;
  while (i < x.size() || j < y.size()) {
    const double at = j == y.size() || (i < x.size() && x[i] < y[j]) ? x[i] : y[j];
    while (i < x.size() && x[i] == at) ++i;
    while (j < y.size() && y[j] == at) ++j;
    double next = at;
    if (i < x.size()) next = x[i];
    if (j < y.size() && (i == x.size() || y[j] < next)) next = y[j];
    visit(at, next,
          static_cast<double>(i) / static_cast<double>(x.size()) -
              static_cast<double>(j) / static_cast<double>(y.size()));
  }
}

}  // namespace

double ks_statistic(std::span<const double> a, std::span<const double> b) {
  double largest = 0;
  walk(a, b, [&](double, double, double difference) {
    largest = std::max(largest, std::abs(difference));
  });
  return largest;
}

double wasserstein1(std::span<const double> a, std::span<const double> b) {
  double sum = 0;
  walk(a, b,
       [&](double x, double next, double difference) { sum += std::abs(difference) * (next - x); });
  return sum;
}

}  // namespace mono
