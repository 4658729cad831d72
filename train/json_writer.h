// Writes JSON text: correct escapes, doubles in the shortest form that reads back equal, no
// locale. What is not finite becomes null; bytes that are not UTF-8 become U+FFFD.
//
//   JsonWriter json;
//   json.begin_object().field("images", 3).key("by_type").begin_array().value(0.5).end_array()
//       .end_object();
//   std::string text = json.take();
//
// The members of the outermost object and the elements of arrays in it stand on lines of their own.
#pragma once

#include <concepts>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

class JsonWriter {
 public:
  JsonWriter& begin_object() { return open('{'); }
  JsonWriter& end_object() { return close('}'); }
  JsonWriter& begin_array() { return open('['); }
  JsonWriter& end_array() { return close(']'); }
  JsonWriter& key(std::string_view name);
  JsonWriter& value(std::string_view text);
  JsonWriter& value(const char* text) { return value(std::string_view(text)); }
  JsonWriter& value(const std::string& text) { return value(std::string_view(text)); }
  JsonWriter& value(double number);
  JsonWriter& value(bool truth);
  JsonWriter& null();
  template <std::integral I>
  requires(!std::same_as<I, bool>) JsonWriter& value(I number) {
    if constexpr (std::is_signed_v<I>)
      return integer(static_cast<int64_t>(number));
    else
      return natural(static_cast<uint64_t>(number));
  }
  template <class T>
  JsonWriter& field(std::string_view name, const T& v) {
    return key(name).value(v);
  }

  // The text, with a line feed at the end; everything must be closed. The writer is empty again.
  std::string take();

 private:
  JsonWriter& open(char bracket);
  JsonWriter& close(char bracket);
  JsonWriter& integer(int64_t number);
  JsonWriter& natural(uint64_t number);
  void before_value();
  void quote(std::string_view text);

  std::string text_;
  std::vector<int> counts_;  // of each open object or array
  bool after_key_ = false;
};

}  // namespace mono
