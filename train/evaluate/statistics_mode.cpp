#include "train/evaluate/statistics_mode.h"

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "train/recipe_keys.h"

namespace mono {

const std::string& name_of(StatisticsMode mode) {
  return EnumNames<StatisticsMode>::list()[static_cast<size_t>(mode)];
}

StatisticsMode parse_statistics_mode(std::string_view text) {
  std::vector<std::string> names;
  for (auto mode : {StatisticsMode::experiment, StatisticsMode::group, StatisticsMode::running}) {
    if (text == name_of(mode)) return mode;
    names.push_back(name_of(mode));
  }
  fail(ErrorKind::usage, "--statistics: '{}' is none of experiment, group, running{}", text,
       did_you_mean(std::string(text), names));
}

StatisticsMode statistics_mode(std::string_view text, const Recipe& recipe) {
  if (!text.empty()) return parse_statistics_mode(text);
  const StatisticsMode mode = recipe.domain.test_statistics;
  if (mode != StatisticsMode::as_trained) return mode;
  return recipe.domain.adabn ? StatisticsMode::experiment : StatisticsMode::running;
}

}  // namespace mono
