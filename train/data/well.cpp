#include "train/data/well.h"

#include <fmt/format.h>

#include "train/data/csv.h"

namespace mono {

std::optional<Well> parse_well(std::string_view name) {
  size_t letters = 0;
  int row = 0, column = 0;
  for (; letters < name.size(); ++letters) {
    const int letter = (name[letters] | 0x20) - 'a';
    if (letter < 0 || letter > 25 || letters == 2) break;
    row = row * 26 + letter + 1;
  }
  if (letters < 1 || name.size() > letters + 3 || !parse_int(name.substr(letters), column) ||
      column < 1)
    return std::nullopt;
  return Well{row - 1, column - 1};
}

std::string row_name(int row) {
  std::string name;
  if (row >= 26) name += static_cast<char>('A' + row / 26 - 1);
  return name + static_cast<char>('A' + row % 26);
}

std::string well_name(const Well& well) {
  return fmt::format("{}{:02}", row_name(well.row), well.column + 1);
}

}  // namespace mono
