#include "train/data/name_pattern.h"

#include "kernels/base/error.h"
#include "train/data/csv.h"

#include <algorithm>

namespace mono {

bool NamePattern::has(std::string_view name) const {
  return std::any_of(pieces.begin(), pieces.end(),
                     [&](const Piece& p) { return p.is_place && p.text == name; });
}

NamePattern parse_name_pattern(std::string_view text) {
  NamePattern pattern;
  std::string plain;
  const auto flush = [&] {
    if (!plain.empty()) pattern.pieces.push_back({plain, false, 0});
    plain.clear();
  };
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if ((c == '{' || c == '}') && i + 1 < text.size() && text[i + 1] == c) {
      plain += c;
      ++i;
      continue;
    }
    if (c == '}')
      fail(ErrorKind::usage, "'{}' has a '}}' without its '{{'; a brace itself is written '}}}}'",
           text);
    if (c != '{') {
      plain += c;
      continue;
    }
    const size_t end = text.find('}', i);
    if (end == text.npos)
      fail(ErrorKind::usage, "'{}' has a '{{' that is not closed; a brace itself is written '{{{{'",
           text);
    NamePattern::Piece piece{std::string(text.substr(i + 1, end - i - 1)), true, 0};
    if (const size_t colon = piece.text.rfind(':'); colon != std::string::npos) {
      const std::string digits = piece.text.substr(colon + 1);
      if (!parse_int(digits, piece.digits) || piece.digits < 1 || piece.digits > 9)
        fail(ErrorKind::usage,
             "'{}': behind the colon of '{{{}}}' stands the number of digits, 1 to 9, as in "
             "{{site:02}}",
             text, piece.text);
      piece.text.resize(colon);
    }
    if (piece.text.empty())
      fail(ErrorKind::usage, "'{}' has a place without a name; name one, as in {{well}}", text);
    flush();
    pattern.pieces.push_back(std::move(piece));
    i = end;
  }
  flush();
  return pattern;
}

bool fill_place(const NamePattern::Piece& piece, std::string_view value, std::string& out) {
  if (piece.digits == 0) {
    out += value;
    return true;
  }
  int number = 0;
  if (!parse_int(value, number) || number < 0) return false;
  out += fmt::format("{:0{}}", number, piece.digits);
  return true;
}

}  // namespace mono
