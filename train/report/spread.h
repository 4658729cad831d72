// How much the figures of several runs differ: "95.3 ± 0.6".
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

namespace mono::report {

// Mean and sample standard deviation (n - 1) of finite values; NaN where there is none.
struct Spread {
  double mean = 0;
  std::optional<double> sd;
  size_t count = 0;
  std::string text(int decimals = 1) const;  // "95.3 ± 0.6"; a dash where there is none
};
Spread spread_of(const std::vector<double>& values);

}  // namespace mono::report
