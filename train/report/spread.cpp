#include "train/report/spread.h"

#include <cmath>
#include <limits>

#include "train/report/svg.h"

namespace mono::report {

std::string Spread::text(int decimals) const {
  if (count == 0) return "–";
  return sd ? figure_text(mean, decimals) + " ± " + figure_text(*sd, decimals)
            : figure_text(mean, decimals);
}

Spread spread_of(const std::vector<double>& values) {
  Spread out;
  for (const double value : values) out.count += std::isfinite(value);
  if (out.count == 0) {
    out.mean = std::numeric_limits<double>::quiet_NaN();
    return out;
  }
  const auto n = static_cast<double>(out.count);
  for (const double value : values)
    if (std::isfinite(value)) out.mean += value / n;
  if (out.count < 2) return out;
  double squares = 0;
  for (const double value : values)
    if (std::isfinite(value)) squares += (value - out.mean) * (value - out.mean);
  out.sd = std::sqrt(squares / (n - 1));
  return out;
}

}  // namespace mono::report
