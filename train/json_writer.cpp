#include "train/json_writer.h"

#include "kernels/base/error.h"

#include <cmath>

namespace mono {
namespace {

// Length of the UTF-8 sequence at the beginning of `text`; 0 if it is not one.
size_t utf8_length(std::string_view text) {
  const auto byte = [&](size_t i) { return static_cast<uint8_t>(text[i]); };
  const uint8_t first = byte(0);
  if (first < 0x80) return 1;
  const size_t n = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || text.size() < n) return 0;
  for (size_t i = 1; i < n; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  const uint8_t second = byte(1);  // overlong forms, surrogates, beyond U+10FFFF
  if ((first == 0xE0 && second < 0xA0) || (first == 0xED && second > 0x9F) ||
      (first == 0xF0 && second < 0x90) || (first == 0xF4 && second > 0x8F))
    return 0;
  return n;
}

}  // namespace

void JsonWriter::before_value() {
  if (after_key_) {
    after_key_ = false;
    return;
  }
  if (counts_.empty()) return;
  const bool first = counts_.back()++ == 0;
  if (counts_.size() <= 2) {
    text_ += first ? "\n" : ",\n";
    text_.append(2 * counts_.size(), ' ');
  } else if (!first) {
    text_ += ", ";
  }
}

JsonWriter& JsonWriter::open(char bracket) {
  before_value();
  text_ += bracket;
  counts_.push_back(0);
  return *this;
}

JsonWriter& JsonWriter::close(char bracket) {
  MONO_CHECK(!counts_.empty() && !after_key_, "'{}'", bracket);
  const bool lines = counts_.size() <= 2 && counts_.back() > 0;
  counts_.pop_back();
  if (lines) {
    text_ += '\n';
    text_.append(2 * counts_.size(), ' ');
  }
  text_ += bracket;
  return *this;
}

JsonWriter& JsonWriter::key(std::string_view name) {
  before_value();
  quote(name);
  text_ += ": ";
  after_key_ = true;
  return *this;
}

JsonWriter& JsonWriter::value(std::string_view text) {
  before_value();
  quote(text);
  return *this;
}

JsonWriter& JsonWriter::value(double number) {
  if (!std::isfinite(number)) return null();
  before_value();
  text_ += fmt::format("{}", number);
  return *this;
}

JsonWriter& JsonWriter::value(bool truth) {
  before_value();
  text_ += truth ? "true" : "false";
  return *this;
}

JsonWriter& JsonWriter::null() {
  before_value();
  text_ += "null";
  return *this;
}

JsonWriter& JsonWriter::integer(int64_t number) {
  before_value();
  text_ += fmt::format("{}", number);
  return *this;
}

JsonWriter& JsonWriter::natural(uint64_t number) {
  before_value();
  text_ += fmt::format("{}", number);
  return *this;
}

void JsonWriter::quote(std::string_view text) {
  text_ += '"';
  while (!text.empty()) {
    const size_t n = utf8_length(text);
    const char c = text.front();
    if (n == 0)
      text_ += "\xEF\xBF\xBD";
    else if (c == '"' || c == '\\')
      (text_ += '\\') += c;
    else if (c == '\n')
      text_ += "\\n";
    else if (static_cast<uint8_t>(c) < 0x20 || c == 0x7F)
      text_ += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    else
      text_.append(text, 0, n);
    text.remove_prefix(n == 0 ? 1 : n);
  }
  text_ += '"';
}

std::string JsonWriter::take() {
  MONO_CHECK(counts_.empty() && !after_key_, "{} brackets are open", counts_.size());
  text_ += '\n';
  return std::exchange(text_, {});
}

}  // namespace mono
