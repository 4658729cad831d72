// What single fields of a screen's tables may hold.
#pragma once

#include "train/data/csv.h"
#include "train/data/dataset.h"

#include <algorithm>
#include <string>
#include <string_view>
#include <tuple>

namespace mono {

// Letters, digits, '-', '_' and '.', not beginning with a dot: safe as a folder name.
inline bool is_name(std::string_view text) {
  if (text.empty() || text.front() == '.' || text.size() > 64) return false;
  return std::all_of(text.begin(), text.end(), [](char c) {
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '-' ||
           c == '_' || c == '.';
  });
}

// "B02": a row of the design, and its column in two digits.
inline bool is_well(std::string_view text, const PlateDesign& design) {
  int column = 0;
  return text.size() == 3 && text[0] >= design.first_row && text[0] <= design.last_row &&
         parse_int(text.substr(1), column) && column >= design.first_column &&
         column <= design.last_column;
}

// What a row said about something, and where.
struct Fact {
  std::string value;
  int table = 0, line = 0;
};

// What an earlier row said about `key`, where that is something else: the first row counts. nullptr
// where there is none. `facts` maps keys to Fact.
template <class Facts, class Key>
const Fact* earlier_fact(Facts& facts, const Key& key, const Fact& fact) {
  const auto [it, fresh] = facts.emplace(key, fact);
  return fresh || it->second.value == fact.value ? nullptr : &it->second;
}

// Orders "sirna_2" before "sirna_10".
struct NaturalLess {
  bool operator()(std::string_view a, std::string_view b) const {
    const auto split = [](std::string_view s) {
      const size_t digits = s.find_last_not_of("0123456789") + 1;  // npos + 1 = 0
      int number = -1;
      parse_int(s.substr(digits), number);
      return std::tuple(s.substr(0, digits), number, s);
    };
    return split(a) < split(b);
  }
};

}  // namespace mono
