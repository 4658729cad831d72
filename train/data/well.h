// Wells by their names: "B02" is row 1, column 1 (both from 0); rows beyond Z are AA, AB, ...
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace mono {

struct Well {
  int row = 0, column = 0;  // from 0
};

// From "B02", "B2", "b02", "AF48"; nothing where it is no name of a well: one or two letters, then
// one to three digits.
std::optional<Well> parse_well(std::string_view name);

std::string row_name(int row);            // "A" to "Z", "AA" to "ZZ"
std::string well_name(const Well& well);  // "B02"

}  // namespace mono
