#include "train/explain/domain_probe.h"

#include <algorithm>

#include "train/evaluate/linear_probe.h"

namespace mono {
namespace {

struct Half {
  Features features;
  std::vector<int> domain;
};

Half half_of(FeatureView features, std::span<const int> domain, std::span<const uint8_t> in_bank,
             uint8_t side) {
  const int rows = static_cast<int>(std::ranges::count(in_bank, side));
  Half half{Features(rows, features.width), {}};
  for (int r = 0; r < features.rows; ++r) {
    if (in_bank[static_cast<size_t>(r)] != side) continue;
    std::ranges::copy(features.row(r),
                      half.features.row(static_cast<int>(half.domain.size())).begin());
    half.domain.push_back(domain[static_cast<size_t>(r)]);
  }
  return half;
}

}  // namespace

std::optional<Share> probe_domain(FeatureView features, std::span<const int> domain, int domains,
                                  std::span<const uint8_t> in_bank, uint64_t seed) {
  const Half bank = half_of(features, domain, in_bank, 1);
  const Half queries = half_of(features, domain, in_bank, 0);
  if (domains < 2 || bank.domain.empty() || queries.domain.empty()) return std::nullopt;
  LinearProbeOptions options;
  options.epochs = 60;
  options.batch = 32;
  options.lr = 1.0 / features.width;
  options.seed = seed;
  return linear_probe(bank.features, bank.domain, domains, queries.features, queries.domain,
                      options)
      .accuracy;
}

double chance_of(std::span<const int> domain, int domains, std::span<const uint8_t> in_bank) {
  std::vector<double> count(static_cast<size_t>(domains));
  double asking = 0;
  for (size_t r = 0; r < domain.size(); ++r) {
    if (in_bank[r]) continue;
    ++count[static_cast<size_t>(domain[r])];
    ++asking;
  }
  return asking > 0 ? *std::ranges::max_element(count) / asking : 1.0;
}

}  // namespace mono
