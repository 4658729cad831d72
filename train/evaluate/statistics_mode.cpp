#include "train/evaluate/statistics_mode.h"

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"

namespace mono {

const char* name_of(StatisticsMode mode) {
  switch (mode) {
    case StatisticsMode::experiment:
      return "experiment";
    case StatisticsMode::group:
      return "group";
    case StatisticsMode::running:
      return "running";
  }
  return "";
}

StatisticsMode parse_statistics_mode(std::string_view text) {
  std::vector<std::string> names;
  for (auto mode : {StatisticsMode::experiment, StatisticsMode::group, StatisticsMode::running}) {
    if (text == name_of(mode)) return mode;
    names.emplace_back(name_of(mode));
  }
  fail(ErrorKind::usage, "--statistics: '{}' is none of experiment, group, running{}", text,
       did_you_mean(std::string(text), names));
}

StatisticsMode statistics_mode(std::string_view text, const Recipe& recipe) {
  if (!text.empty()) return parse_statistics_mode(text);
  switch (recipe.domain.test_statistics) {
    case TestStatistics::experiment:
      return StatisticsMode::experiment;
    case TestStatistics::group:
      return StatisticsMode::group;
    case TestStatistics::running:
      return StatisticsMode::running;
    case TestStatistics::as_trained:
      break;
  }
  return recipe.domain.adabn ? StatisticsMode::experiment : StatisticsMode::running;
}

}  // namespace mono
