// Numbers in sentences.
#pragma once

#include <fmt/format.h>

#include <cstdint>
#include <string>

#include "train/report/svg.h"

namespace mono::report {

inline std::string count(int64_t n) {
  return figure_text(static_cast<double>(n), 0);
}
inline std::string percent(double share) {
  return figure_text(100 * share, 1) + " %";
}
inline std::string plural(int64_t n, const char* one, const char* many) {
  return fmt::format("{} {}", count(n), n == 1 ? one : many);
}

}  // namespace mono::report
