// All results of a call as one page: OUT/report.html.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/report/figures.h"
#include "train/reproduce/results.h"

namespace mono {

struct ShownResult {
  Result result;
  std::optional<report::Figure> figure;
};

// `command`: what repeats it; `facts`: name and value of what the runs depend on, shown at the end.
std::string results_page(const std::string& title, const std::vector<ShownResult>& results,
                         const std::string& command,
                         const std::vector<std::pair<std::string, std::string>>& facts);

}  // namespace mono
