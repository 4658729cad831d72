#include "train/evaluate/shapley.h"

#include <bit>

#include "kernels/base/error.h"

namespace mono {

std::vector<double> shapley_values(std::span<const double> values) {
  const int players = std::countr_zero(values.size());
  MONO_CHECK(std::has_single_bit(values.size()) && players >= 1 && players <= 16,
             "shapley_values: {} values are not those of all subsets", values.size());
  // weight[s] = s! (n - s - 1)! / n! = 1 / (n choose(n - 1, s))
  std::vector<double> weight;
  double choose = 1;
  for (int s = 0; s < players; ++s) {
    weight.push_back(1 / (players * choose));
    choose = choose * (players - 1 - s) / (s + 1);
  }
  std::vector<double> result(static_cast<size_t>(players));
  for (size_t i = 0; i < result.size(); ++i)
    for (size_t subset = 0; subset < values.size(); ++subset)
      if (!(subset >> i & 1))
        result[i] += weight[static_cast<size_t>(std::popcount(subset))] *
                     (values[subset | size_t{1} << i] - values[subset]);
  return result;
}

}  // namespace mono
