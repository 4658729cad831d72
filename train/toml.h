// TOML, reduced to what recipes need: a flat list of dotted keys with their values and places.
// The library behind it is included by toml.cpp alone.
#pragma once

#include <string>
#include <string_view>
#include <variant>
#include <vector>

namespace mono {

struct TomlPlace {
  std::string file;
  int line = 1, column = 1;
  std::string text() const;  // FILE:LINE:COL
};

struct TomlTable {};  // a table, listed before its members
struct TomlOther {
  std::string type;
};  // a date or time: no recipe key takes one
struct TomlValue;
using TomlArray = std::vector<TomlValue>;

struct TomlValue {
  std::variant<TomlTable, TomlOther, bool, int64_t, double, std::string, TomlArray> value;
  TomlPlace place;

  std::string type_name() const;  // "a string", "an integer", ...
  std::string text() const;       // the value, as it would be written
};

struct TomlItem {
  std::string key;  // dotted path, "optim.lr"
  TomlPlace place;  // of the key
  TomlValue value;
};

// Parses a document, in the order of its text. Syntax errors, duplicate keys and input larger than
// 1 MB are ErrorKind::usage with FILE:LINE:COL.
std::vector<TomlItem> parse_toml(std::string_view text, const std::string& file);

}  // namespace mono
