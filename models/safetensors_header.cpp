#include "models/safetensors_header.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/utf8.h"

namespace mono {
namespace {

void append_utf8(std::string& out, uint32_t code) {
  if (code < 0x80) {
    out += static_cast<char>(code);
  } else if (code < 0x800) {
    out += static_cast<char>(0xC0 | code >> 6);
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    out += static_cast<char>(0xE0 | code >> 12);
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | code >> 18);
    out += static_cast<char>(0x80 | (code >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (code >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (code & 0x3F));
  }
}

class Scanner {
 public:
  Scanner(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  template <class... Args>
  [[noreturn]] void refuse(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::data,
         "{}: header, byte {}: {}; the file is damaged or was not written by a "
         "safetensors library",
         path_, at_, fmt::format(format, std::forward<Args>(args)...));
  }

  void skip_space() {
    while (at_ < text_.size() && std::string_view(" \t\n\r").find(text_[at_]) != text_.npos) ++at_;
  }
  bool take(char c) {
    skip_space();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c, std::string_view where) {
    if (take(c)) return;
    if (at_ >= text_.size()) refuse("ends where '{}' is expected ({})", c, where);
    refuse("'{}' is expected ({}), not byte 0x{:02x}", c, where,
           static_cast<unsigned char>(text_[at_]));
  }
  bool at_end() {
    skip_space();
    return at_ == text_.size();
  }

  std::string string(std::string_view what) {
    expect('"', what);
    std::string out;
    for (;;) {
      if (at_ >= text_.size()) refuse("ends inside a string ({})", what);
      const char c = text_[at_++];
      if (c == '"') return out;
      if (static_cast<unsigned char>(c) < 0x20)
        refuse("a control character in a string ({})", what);
      if (c != '\\') {
        out += c;
        continue;
      }
      if (at_ >= text_.size()) refuse("ends inside a string ({})", what);
      escape(out);
    }
  }

  // A non-negative integer in plain decimal notation.
  uint64_t integer(std::string_view what) {
    skip_space();
    const char* begin = text_.data() + at_;
    const char* end = text_.data() + text_.size();
    uint64_t value = 0;
    const auto [stop, error] = std::from_chars(begin, end, value);
    if (error == std::errc::result_out_of_range) refuse("{} does not fit 64 bits", what);
    if (error != std::errc{}) refuse("{} is not a non-negative integer", what);
    if (*begin == '0' && stop - begin > 1) refuse("{} has a leading zero", what);
    at_ += static_cast<size_t>(stop - begin);
    if (at_ < text_.size() && (text_[at_] == '.' || text_[at_] == 'e' || text_[at_] == 'E'))
      refuse("{} is not an integer", what);
    return value;
  }

 private:
  uint32_t four_hex_digits() {
    uint32_t code = 0;
    if (text_.size() - at_ < 4) refuse("ends inside a \\u escape");
    const char* begin = text_.data() + at_;
    const auto [stop, error] = std::from_chars(begin, begin + 4, code, 16);
    if (error != std::errc{} || stop != begin + 4) refuse("\\u needs four hexadecimal digits");
    at_ += 4;
    return code;
  }

  void escape(std::string& out) {
    constexpr std::string_view kLetters = "\"\\/bfnrt";
    constexpr std::string_view kMeaning = "\"\\/\b\f\n\r\t";
    const char c = text_[at_++];
    if (const size_t i = kLetters.find(c); i != kLetters.npos) {
      out += kMeaning[i];
      return;
    }
    if (c != 'u') refuse("an unknown escape in a string");
    uint32_t code = four_hex_digits();
    if (code >= 0xDC00 && code <= 0xDFFF) refuse("half a surrogate pair in a string");
    if (code >= 0xD800 && code <= 0xDBFF) {
      if (text_.substr(at_, 2) != "\\u") refuse("half a surrogate pair in a string");
      at_ += 2;
      const uint32_t low = four_hex_digits();
      if (low < 0xDC00 || low > 0xDFFF) refuse("half a surrogate pair in a string");
      code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    }
    append_utf8(out, code);
  }

  const std::string& path_;
  std::string_view text_;
  size_t at_ = 0;
};

// Calls member(key) for each member of an object; a key given twice is refused.
template <class Member>
void object(Scanner& scan, std::string_view what, Member&& member) {
  std::set<std::string> keys;
  scan.expect('{', what);
  if (scan.take('}')) return;
  do {
    std::string key = scan.string("a key");
    scan.expect(':', "after a key");
    if (!keys.insert(key).second) scan.refuse("key '{}' appears twice in {}", key, what);
    member(std::move(key));
  } while (scan.take(','));
  scan.expect('}', what);
}

template <class Element>
void array(Scanner& scan, std::string_view what, Element&& element) {
  scan.expect('[', what);
  if (scan.take(']')) return;
  do {
    element();
  } while (scan.take(','));
  scan.expect(']', what);
}

SafetensorsEntry parse_entry(Scanner& scan, std::string name) {
  SafetensorsEntry entry;
  std::vector<uint64_t> offsets;
  bool has_shape = false;
  object(scan, "a tensor's description", [&](const std::string& key) {
    if (key == "dtype") {
      entry.dtype = scan.string("dtype");
      if (safetensors_element_bytes(entry.dtype) == 0)
        scan.refuse("tensor '{}': unknown dtype '{}'", name, entry.dtype);
    } else if (key == "shape") {
      has_shape = true;
      array(scan, "shape", [&] {
        const uint64_t extent = scan.integer("an extent of a shape");
        if (extent > static_cast<uint64_t>(INT64_MAX))
          scan.refuse("tensor '{}': extent {} does not fit 63 bits", name, extent);
        entry.shape.push_back(static_cast<int64_t>(extent));
        if (entry.shape.size() > SafetensorsFile::kMaxRank)
          scan.refuse("tensor '{}': more than {} dimensions", name, SafetensorsFile::kMaxRank);
      });
    } else if (key == "data_offsets") {
      array(scan, "data_offsets", [&] {
        offsets.push_back(scan.integer("a data offset"));
        if (offsets.size() > 2) scan.refuse("tensor '{}': more than two data_offsets", name);
      });
    } else {
      scan.refuse("tensor '{}': unknown key '{}'", name, key);
    }
  });
  if (entry.dtype.empty()) scan.refuse("tensor '{}': dtype is missing", name);
  if (!has_shape) scan.refuse("tensor '{}': shape is missing", name);
  if (offsets.size() != 2) scan.refuse("tensor '{}': two data_offsets are expected", name);
  entry.name = std::move(name);
  entry.begin = offsets[0];
  entry.end = offsets[1];
  return entry;
}

}  // namespace

SafetensorsHeader parse_safetensors_header(const std::string& path, std::string_view header) {
  Scanner scan(path, header);
  if (header.empty() || header[0] != '{') scan.refuse("a header starts with '{{'");
  if (utf8_prefix(header) != header.size()) scan.refuse("is not UTF-8");
  SafetensorsHeader out;
  object(scan, "the header", [&](std::string name) {
    if (name == "__metadata__") {
      object(scan, "__metadata__",
             [&](const std::string& key) { out.metadata[key] = scan.string("a metadata value"); });
      return;
    }
    // Names are printed and become file content elsewhere: no escape sequences in a terminal.
    if (std::any_of(name.begin(), name.end(),
                    [](unsigned char c) { return c < 0x20 || c == 0x7F; }))
      scan.refuse("a tensor's name holds a control character");
    if (out.entries.size() == SafetensorsFile::kMaxTensors)
      scan.refuse("more than {} tensors", SafetensorsFile::kMaxTensors);
    out.entries.push_back(parse_entry(scan, std::move(name)));
  });
  if (!scan.at_end()) scan.refuse("something follows the closing '}}'");
  return out;
}

size_t safetensors_element_bytes(std::string_view dtype) {
  constexpr std::pair<std::string_view, size_t> kBytes[] = {
      {"F64", 8}, {"I64", 8}, {"U64", 8},  {"F32", 4},     {"I32", 4},
      {"U32", 4}, {"F16", 2}, {"BF16", 2}, {"I16", 2},     {"U16", 2},
      {"I8", 1},  {"U8", 1},  {"BOOL", 1}, {"F8_E4M3", 1}, {"F8_E5M2", 1}};
  for (const auto& [name, bytes] : kBytes)
    if (name == dtype) return bytes;
  return 0;
}

std::string quote_json(std::string_view text) {
  std::string out = "\"";
  while (!text.empty()) {
    const char c = text.front();
    const size_t length = utf8_length(text);
    if (length == 0) {
      out += "\xEF\xBF\xBD";  // U+FFFD: a file name may hold any bytes, JSON may not
    } else if (c == '"' || c == '\\') {
      out += '\\';
      out += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      out += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      out.append(text, 0, length);
    }
    text.remove_prefix(std::max<size_t>(length, 1));
  }
  return out + "\"";
}

}  // namespace mono
