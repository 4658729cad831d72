// The recipes inside the program: the files of train/recipes/ (cmake/embed_recipes.cmake), and
// those that are written by a loop.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

struct EmbeddedRecipe {
  std::string_view name;  // path below train/recipes/, without .toml
  std::string_view text;
};

std::span<const EmbeddedRecipe> embedded_recipes();

// Recipes that a loop writes better than a person: Table 1's baseline on each of the 63 subsets of
// the six channels, rxrx1/fig9/135, and at smoke scale on each of the 7 of the first three.
std::span<const EmbeddedRecipe> channel_recipes();

// The subsets of so many channels as digits, in the order of their bits: "1", "2", "12", "3", ...
std::vector<std::string> channel_subsets(int channels);

}  // namespace mono
