// "did you mean": the nearest right name for a mistyped one.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace mono {

// The candidate with the fewest edits (insert, delete, replace, swap of neighbours; case and the
// choice of '-' or '_' count nothing), or an empty string where none is near. Ties: the first.
std::string nearest_name(std::string_view word, std::span<const std::string> candidates);

// "; did you mean 'X'?", or an empty string.
std::string did_you_mean(std::string_view word, std::span<const std::string> candidates);

}  // namespace mono
