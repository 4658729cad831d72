// Which statistics the batch norms use at evaluation.
#pragma once

#include <string_view>

#include "train/recipe.h"

namespace mono {

enum class StatisticsMode {
  experiment,  // of the image's whole experiment, in two passes (nn/domain/adabn.h)
  group,       // of its group: balanced groups of the size of training, each from one experiment
  running      // the averages over training
};

const char* name_of(StatisticsMode mode);
StatisticsMode parse_statistics_mode(std::string_view text);  // Error: usage
// `text` if there is one, else domain.test_statistics, else what the recipe was trained for:
// experiment under AdaBN, or running.
StatisticsMode statistics_mode(std::string_view text, const Recipe& recipe);

}  // namespace mono
