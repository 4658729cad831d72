#include "train/json.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <set>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "models/safetensors_header.h"

namespace mono {
namespace {

// Builds a Json from the library's events; the library's own tree would keep the last of two equal
// keys without a word.
class Builder : public nlohmann::json_sax<nlohmann::json> {
 public:
  explicit Builder(const std::string& file) : file_(file) {}

  bool null() override { return add(Json()); }
  bool boolean(bool value) override { return add(Json(value)); }
  bool number_integer(int64_t value) override { return add(Json(value)); }
  bool number_unsigned(uint64_t value) override {
    return value <= static_cast<uint64_t>(INT64_MAX) ? add(Json(static_cast<int64_t>(value)))
                                                     : add(Json(value));
  }
  bool number_float(double value, const std::string& text) override {
    if (!std::isfinite(value)) fail(ErrorKind::data, "{}: number {} is too large", file_, text);
    return add(Json(value));
  }
  bool string(std::string& value) override { return add(Json(std::move(value))); }
  bool binary(nlohmann::json::binary_t&) override { return false; }
  bool start_object(size_t) override { return open({Json::object(), true, {}, {}}); }
  bool start_array(size_t) override { return open({Json::array(), false, {}, {}}); }
  bool key(std::string& key) override {
    if (!levels_.back().keys.insert(key).second)
      fail(ErrorKind::data, "{}: key '{}' appears twice in one object", file_, key);
    levels_.back().key = std::move(key);
    return true;
  }
  bool end_object() override { return close(); }
  bool end_array() override { return close(); }
  bool parse_error(size_t position, const std::string& token,
                   const nlohmann::json::exception&) override {
    fail(ErrorKind::data, "{}: is not JSON at byte {} (near '{}'); the file is damaged or cut off",
         file_, position, token.substr(0, 40));
  }

  Json root;

 private:
  struct Level {
    Json value;
    bool is_object;
    std::string key;
    std::set<std::string> keys;
  };

  bool add(Json value) {
    if (levels_.empty())
      root = std::move(value);
    else if (levels_.back().is_object)
      levels_.back().value[levels_.back().key] = std::move(value);
    else
      levels_.back().value.push_back(std::move(value));
    return true;
  }
  bool open(Level level) {
    constexpr size_t kDeepest = 64;
    if (levels_.size() == kDeepest)
      fail(ErrorKind::data, "{}: more than {} levels of nesting", file_, kDeepest);
    levels_.push_back(std::move(level));
    return true;
  }
  bool close() {
    Json value = std::move(levels_.back().value);
    levels_.pop_back();
    return add(std::move(value));
  }

  const std::string& file_;
  std::vector<Level> levels_;
};

}  // namespace

Json& Json::operator[](std::string_view key) {
  if (std::holds_alternative<std::monostate>(value_)) value_ = Object{};
  Object& members = std::get<Object>(value_);
  for (auto& [name, value] : members)
    if (name == key) return value;
  return members.emplace_back(std::string(key), Json()).second;
}

void Json::push_back(Json value) {
  std::get<Array>(value_).push_back(std::move(value));
}

void Json::write(std::string& out, int indent) const {
  const auto new_line = [&](int depth) {
    if (indent < 0) return;
    out += '\n';
    out.append(static_cast<size_t>(depth) * 2, ' ');
  };
  const int inner = indent < 0 ? indent : indent + 1;
  if (std::holds_alternative<std::monostate>(value_)) {
    out += "null";
  } else if (const bool* boolean = std::get_if<bool>(&value_)) {
    out += *boolean ? "true" : "false";
  } else if (const auto* integer = std::get_if<int64_t>(&value_)) {
    out += std::to_string(*integer);
  } else if (const auto* integer = std::get_if<uint64_t>(&value_)) {
    out += std::to_string(*integer);
  } else if (const auto* number = std::get_if<double>(&value_)) {
    out += std::isfinite(*number) ? fmt::format("{}", *number) : "null";
  } else if (const auto* string = std::get_if<std::string>(&value_)) {
    out += quote_json(*string);
  } else if (const auto* array = std::get_if<Array>(&value_)) {
    out += '[';
    for (size_t i = 0; i < array->size(); ++i) {
      if (i) out += indent < 0 ? ", " : ",";
      new_line(inner);
      (*array)[i].write(out, inner);
    }
    if (!array->empty()) new_line(indent);
    out += ']';
  } else {
    const Object& members = std::get<Object>(value_);
    out += '{';
    for (size_t i = 0; i < members.size(); ++i) {
      if (i) out += indent < 0 ? ", " : ",";
      new_line(inner);
      out += quote_json(members[i].first) + ": ";
      members[i].second.write(out, inner);
    }
    if (!members.empty()) new_line(indent);
    out += '}';
  }
}

std::string Json::line() const {
  std::string out;
  write(out, -1);
  return out;
}

std::string Json::text() const {
  std::string out;
  write(out, 0);
  return out + "\n";
}

void JsonView::refuse(const std::string& message) const {
  fail(ErrorKind::data, "{}: {}{}{}", file_, path_, path_.empty() ? "" : ": ", message);
}

void JsonView::refuse_type(const char* wanted) const {
  struct TypeName {
    const char* operator()(const std::monostate&) const { return "null"; }
    const char* operator()(bool) const { return "a boolean"; }
    const char* operator()(int64_t) const { return "an integer"; }
    const char* operator()(uint64_t) const { return "an integer"; }
    const char* operator()(double) const { return "a number with a fraction"; }
    const char* operator()(const std::string&) const { return "a string"; }
    const char* operator()(const Json::Array&) const { return "an array"; }
    const char* operator()(const Json::Object&) const { return "an object"; }
  };
  refuse(
      fmt::format("is {}, where {} is expected", std::visit(TypeName{}, value_->value_), wanted));
}

JsonView JsonView::child(const Json& value, const std::string& step) const {
  return {document_, &value, file_, path_.empty() ? step : path_ + "." + step};
}

std::optional<JsonView> JsonView::find(std::string_view key) const {
  const auto* members = std::get_if<Json::Object>(&value_->value_);
  if (!members) refuse_type("an object");
  for (const auto& [name, value] : *members)
    if (name == key && !std::holds_alternative<std::monostate>(value.value_))
      return child(value, name);
  return {};
}

JsonView JsonView::operator[](std::string_view key) const {
  const auto* members = std::get_if<Json::Object>(&value_->value_);
  if (!members) refuse_type("an object");
  for (const auto& [name, value] : *members)
    if (name == key) return child(value, name);
  refuse(fmt::format("key '{}' is missing", key));
}

std::vector<JsonView> JsonView::array() const {
  const auto* elements = std::get_if<Json::Array>(&value_->value_);
  if (!elements) refuse_type("an array");
  std::vector<JsonView> out;
  for (size_t i = 0; i < elements->size(); ++i)
    out.push_back(child((*elements)[i], std::to_string(i)));
  return out;
}

std::vector<std::pair<std::string, JsonView>> JsonView::members() const {
  const auto* members = std::get_if<Json::Object>(&value_->value_);
  if (!members) refuse_type("an object");
  std::vector<std::pair<std::string, JsonView>> out;
  for (const auto& [name, value] : *members) out.emplace_back(name, child(value, name));
  return out;
}

int64_t JsonView::integer(int64_t low, int64_t high) const {
  const auto* integer = std::get_if<int64_t>(&value_->value_);
  if (!integer) refuse_type("an integer");
  if (*integer < low || *integer > high)
    refuse(fmt::format("{} is out of range, {} to {}", *integer, low, high));
  return *integer;
}

uint64_t JsonView::unsigned_integer() const {
  if (const auto* large = std::get_if<uint64_t>(&value_->value_)) return *large;
  return static_cast<uint64_t>(integer(0));
}

double JsonView::number() const {
  if (const auto* integer = std::get_if<int64_t>(&value_->value_))
    return static_cast<double>(*integer);
  const auto* number = std::get_if<double>(&value_->value_);
  if (!number) refuse_type("a number");
  return *number;
}

bool JsonView::boolean() const {
  const auto* boolean = std::get_if<bool>(&value_->value_);
  if (!boolean) refuse_type("true or false");
  return *boolean;
}

const std::string& JsonView::string() const {
  const auto* string = std::get_if<std::string>(&value_->value_);
  if (!string) refuse_type("a string");
  return *string;
}

bool JsonView::is_null() const {
  return std::holds_alternative<std::monostate>(value_->value_);
}

JsonView parse_json(std::string_view text, const std::string& file) {
  Builder builder(file);
  if (!nlohmann::json::sax_parse(text, &builder))
    fail(ErrorKind::data, "{}: is not JSON; the file is damaged or cut off", file);
  auto document = std::make_shared<const Json>(std::move(builder.root));
  const Json* root = document.get();
  return {std::move(document), root, file, ""};
}

void read_json_lines(std::string_view text, const std::string& file,
                     const std::function<bool(const JsonView& row, size_t end)>& take,
                     int first_line) {
  size_t begin = 0;
  for (int line = first_line;; ++line) {
    const size_t end = text.find('\n', begin);
    if (end == text.npos) return;
    const JsonView row =
        parse_json(text.substr(begin, end - begin), fmt::format("{}:{}", file, line));
    begin = end + 1;
    if (!take(row, begin)) return;
  }
}

JsonView read_json_file(const std::string& path) {
  constexpr size_t kLimit = 256 << 20;
  return parse_json(read_file(path, kLimit), path);
}

}  // namespace mono
