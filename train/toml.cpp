#include "train/toml.h"

#include <fmt/format.h>

#include <algorithm>

#define TOML_EXCEPTIONS 1
#define TOML_HEADER_ONLY 1
#include <toml++/toml.h>

#include "kernels/base/error.h"

namespace mono {
namespace {

TomlPlace place_of(const toml::source_region& source, const std::string& file) {
  return {file, static_cast<int>(std::max<uint32_t>(1, source.begin.line)),
          static_cast<int>(std::max<uint32_t>(1, source.begin.column))};
}

TomlValue convert(const toml::node& node, const std::string& file) {
  TomlValue out{TomlTable{}, place_of(node.source(), file)};
  if (const auto* boolean = node.as_boolean()) {
    out.value = boolean->get();
  } else if (const auto* integer = node.as_integer()) {
    out.value = integer->get();
  } else if (const auto* number = node.as_floating_point()) {
    out.value = number->get();
  } else if (const auto* string = node.as_string()) {
    out.value = string->get();
  } else if (const auto* array = node.as_array()) {
    TomlArray elements;
    for (const toml::node& element : *array) elements.push_back(convert(element, file));
    out.value = std::move(elements);
  } else if (!node.is_table()) {
    out.value = TomlOther{"a date or time"};
  }
  return out;
}

void flatten(const toml::table& table, const std::string& prefix, const std::string& file,
             std::vector<TomlItem>& items) {
  // toml++ sorts keys; recipes are read in the order in which they are written.
  std::vector<std::pair<const toml::key*, const toml::node*>> members;
  for (const auto& [key, node] : table) members.emplace_back(&key, &node);
  std::sort(members.begin(), members.end(), [](const auto& a, const auto& b) {
    const auto x = a.first->source().begin, y = b.first->source().begin;
    return std::tie(x.line, x.column) < std::tie(y.line, y.column);
  });
  for (const auto& [key, node] : members) {
    const std::string path = prefix + std::string(key->str());
    items.push_back({path, place_of(key->source(), file), convert(*node, file)});
    if (const toml::table* inner = node->as_table()) flatten(*inner, path + ".", file, items);
  }
}

struct TypeName {
  std::string operator()(const TomlTable&) const { return "a table"; }
  std::string operator()(const TomlOther& other) const { return other.type; }
  std::string operator()(bool) const { return "a boolean"; }
  std::string operator()(int64_t) const { return "an integer"; }
  std::string operator()(double) const { return "a number"; }
  std::string operator()(const std::string&) const { return "a string"; }
  std::string operator()(const TomlArray&) const { return "an array"; }
};

struct Text {
  std::string operator()(const TomlTable&) const { return "the table"; }
  std::string operator()(const TomlOther& other) const { return other.type; }
  std::string operator()(bool value) const { return value ? "true" : "false"; }
  std::string operator()(int64_t value) const { return std::to_string(value); }
  std::string operator()(double value) const { return fmt::format("{}", value); }
  std::string operator()(const std::string& value) const { return "'" + value + "'"; }
  std::string operator()(const TomlArray& value) const {
    std::string out = "[";
    for (const TomlValue& element : value) out += (out.size() > 1 ? ", " : "") + element.text();
    return out + "]";
  }
};

}  // namespace

std::string TomlPlace::text() const {
  return fmt::format("{}:{}:{}", file, line, column);
}
std::string TomlValue::type_name() const {
  return std::visit(TypeName{}, value);
}
std::string TomlValue::text() const {
  return std::visit(Text{}, value);
}

std::vector<TomlItem> parse_toml(std::string_view text, const std::string& file) {
  constexpr size_t kLimit = 1 << 20;
  if (text.size() > kLimit)
    fail(ErrorKind::usage, "{}:1:1: {} bytes, more than the {} that a recipe may have", file,
         text.size(), kLimit);
  std::vector<TomlItem> items;
  try {
    flatten(toml::parse(text, std::string_view(file)), "", file, items);
  } catch (const toml::parse_error& error) {
    fail(ErrorKind::usage, "{}: {}", place_of(error.source(), file).text(), error.description());
  }
  return items;
}

}  // namespace mono
