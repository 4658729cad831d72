// The files of train/recipes/, compiled into the program (cmake/embed_recipes.cmake).
#pragma once

#include <span>
#include <string_view>

namespace mono {

struct EmbeddedRecipe {
  std::string_view name;  // path below train/recipes/, without .toml
  std::string_view text;
};

std::span<const EmbeddedRecipe> embedded_recipes();

}  // namespace mono
