// Which statistics the batch norms use at evaluation, by the word for it.
#pragma once

#include <string>
#include <string_view>

#include "train/recipe.h"

namespace mono {

const std::string& name_of(StatisticsMode mode);
// Never as_trained. Error: usage.
StatisticsMode parse_statistics_mode(std::string_view text);
// `text` if there is one, else domain.test_statistics, else what the recipe was trained for:
// experiment under AdaBN, or running. Never as_trained.
StatisticsMode statistics_mode(std::string_view text, const Recipe& recipe);

}  // namespace mono
