// Keys of a recipe that do nothing beside its other keys: momentum with AdamW, CutMix with crops,
// the widths of BYOL's head in DINO. A run that is given one is not the run that was meant:
// load_recipe() refuses those that the recipe asked for or a set gives.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

struct Recipe;

// Why `key` does nothing in this recipe, as the end of "KEY does nothing ...", with the remedy;
// nothing where it does something.
std::optional<std::string> why_idle(const Recipe& recipe, std::string_view key);

// Whether a value, as recipe_text() spells it, only says that the key's effect is off, which is
// true of an idle key: "none", false, 0. Not so for keys whose off is a choice of its own.
bool says_off(std::string_view key, std::string_view text);

// For commands that run several recipes with the same sets: those that do something in this one.
std::vector<std::string> sets_that_apply(const std::string& name,
                                         const std::vector<std::string>& sets);
// Error(usage) for a set that does nothing in any of them.
void check_sets_apply(const std::vector<std::string>& names, const std::vector<std::string>& sets);

// As load_recipe(), but takes idle keys as they are: a run's recipe.toml was accepted once.
Recipe load_accepted_recipe(const std::string& file);

}  // namespace mono
