// Text with places that are filled from a table's row: "{plate}/{well}_f{site:02}_{channel}.png".
//
//   {NAME}     the value of NAME as it is
//   {NAME:02}  a whole number, with zeros in front up to two digits (1 to 9)
//   {{ and }}  a brace
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace mono {

struct NamePattern {
  struct Piece {
    std::string text;  // as it stands, or the name of a place
    bool is_place = false;
    int digits = 0;  // 0: as it is
  };
  std::vector<Piece> pieces;
  bool has(std::string_view name) const;
};

// Throws Error(usage) with what is wrong, without a place in a file.
NamePattern parse_name_pattern(std::string_view text);

// `value` as the piece wants it; false where digits are asked for and it is not a whole number.
bool fill_place(const NamePattern::Piece& piece, std::string_view value, std::string& out);

}  // namespace mono
