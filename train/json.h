// JSON: a small value for writing, and a view for strict reading that knows where it is.
//
//   Json row = Json::object();  row["step"] = 12;  row["loss"] = 4.81;  row.line()
//   JsonView state = read_json_file(path);  state["position"]["step"].integer(0)
//
// Reading errors are ErrorKind::data and name file and key: "ckpt/state.json: position.step: is a
// string, where an integer is expected".
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace mono {

class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<std::pair<std::string, Json>>;  // in the order of insertion

  Json() = default;  // null
  Json(bool value) : value_(value) {}
  Json(int value) : value_(int64_t{value}) {}
  Json(int64_t value) : value_(value) {}
  Json(uint64_t value) : value_(value) {}
  Json(double value) : value_(value) {}  // written so that it reads back to the same bits
  Json(const char* value) : value_(std::string(value)) {}
  Json(std::string value) : value_(std::move(value)) {}
  Json(std::string_view value) : value_(std::string(value)) {}
  Json(std::nullptr_t) {}
  Json(Array value) : value_(std::move(value)) {}
  Json(Object value) : value_(std::move(value)) {}
  template <class T>
  Json(const std::vector<T>& values) : value_(Array(values.begin(), values.end())) {}
  static Json object() { return Json(Object{}); }
  static Json array() { return Json(Array{}); }

  // The member of that name, added as null if absent. Only of an object.
  Json& operator[](std::string_view key);
  // Only of an array.
  void push_back(Json value);

  // Text in one line; in lines with an indent of two. A number that is not finite becomes null,
  // since JSON has no word for it.
  std::string line() const;
  std::string text() const;  // ends with a newline

 private:
  friend class JsonView;
  void write(std::string& out, int indent) const;  // indent < 0: one line
  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object> value_;
};

// A value and the path that leads to it. Keeps the document alive.
class JsonView {
 public:
  // The members and elements; each fails with file and key where the document differs.
  JsonView operator[](std::string_view key) const;           // must exist
  std::optional<JsonView> find(std::string_view key) const;  // null counts as absent
  std::vector<JsonView> array() const;
  std::vector<std::pair<std::string, JsonView>> members() const;  // of an object
  int64_t integer(int64_t low = INT64_MIN, int64_t high = INT64_MAX) const;
  uint64_t unsigned_integer() const;
  double number() const;  // an integer is a number
  bool boolean() const;
  const std::string& string() const;
  bool is_null() const;

  // Fails with this place in the message.
  [[noreturn]] void refuse(const std::string& message) const;

 private:
  friend JsonView parse_json(std::string_view, const std::string&);
  JsonView(std::shared_ptr<const Json> document, const Json* value, std::string file,
           std::string path)
      : document_(std::move(document)),
        value_(value),
        file_(std::move(file)),
        path_(std::move(path)) {}
  JsonView child(const Json& value, const std::string& step) const;
  [[noreturn]] void refuse_type(const char* wanted) const;

  std::shared_ptr<const Json> document_;
  const Json* value_;
  std::string file_, path_;
};

// Strict: RFC 8259, no key twice in an object, at most 64 levels. `file` stands in messages.
JsonView parse_json(std::string_view text, const std::string& file);

// A document in each line, as logs have them: calls take(row, end) for each, where `end` is the
// offset behind its newline, until that returns false. What follows the last newline, a row that is
// being written or was torn, is left. Messages name "file:line", counted from `first_line`.
void read_json_lines(std::string_view text, const std::string& file,
                     const std::function<bool(const JsonView& row, size_t end)>& take,
                     int first_line = 1);

// One document, of a file of at most 256 MB.
JsonView read_json_file(const std::string& path);

}  // namespace mono
