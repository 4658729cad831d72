#include "train/evaluate/npy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <charconv>
#include <cstring>
#include <string_view>
#include <vector>

#include "kernels/base/error.h"
#include "models/durable_file.h"

namespace mono {

void write_npy(const std::string& path, std::span<const float> values, int64_t rows,
               int64_t columns) {
  static_assert(std::endian::native == std::endian::little);
  MONO_CHECK(static_cast<int64_t>(values.size()) == rows * columns, "{} values for ({}, {})",
             values.size(), rows, columns);
  std::string dict =
      fmt::format("{{'descr': '<f4', 'fortran_order': False, 'shape': ({}, {}), }}", rows, columns);
  // Magic (6), version (2), length (2), text and a newline: a multiple of 64 bytes in all.
  constexpr size_t kPrefix = 10, kAlignment = 64;
  dict.append((kAlignment - (kPrefix + dict.size() + 1) % kAlignment) % kAlignment, ' ');
  dict += '\n';
  std::string header = "\x93NUMPY";
  header +=
      {'\x01', '\x00', static_cast<char>(dict.size() & 0xFF), static_cast<char>(dict.size() >> 8)};
  header += dict;
  const std::array<std::span<const std::byte>, 2> pieces = {
      std::as_bytes(std::span<const char>(header)), std::as_bytes(values)};
  write_file_durably(path, pieces);
}

namespace {

constexpr size_t kMagicBytes = 8;              // the magic and the version
constexpr size_t kMostHeaderBytes = 1u << 20;  // NumPy writes about a hundred
constexpr std::string_view kMagic = "\x93NUMPY";

// The dict of the header, read strictly: the three keys once each, in any order.
class HeaderParser {
 public:
  HeaderParser(const std::string& path, std::string_view text) : path_(path), text_(text) {}

  struct Header {
    std::string descr;
    bool fortran_order = false;
    std::vector<int64_t> shape;
  };

  Header parse() {
    Header header;
    bool descr = false, order = false, shape = false;
    expect('{');
    while (!take('}')) {
      const std::string key = quoted();
      expect(':');
      if (key == "descr" && !descr) {
        header.descr = quoted();
        descr = true;
      } else if (key == "fortran_order" && !order) {
        header.fortran_order = boolean();
        order = true;
      } else if (key == "shape" && !shape) {
        header.shape = tuple();
        shape = true;
      } else {
        refuse(fmt::format("a key '{}' that is unknown or there twice", key));
      }
      if (!take(',')) {
        expect('}');
        break;
      }
    }
    skip_spaces();
    if (at_ != text_.size()) refuse("text after the dict");
    if (!descr || !order || !shape) refuse("a dict without descr, fortran_order or shape");
    return header;
  }

 private:
  [[noreturn]] void refuse(const std::string& what) const {
    fail(ErrorKind::data,
         "{}: the header of the .npy file holds {} (at character {} of its dict); save the array "
         "again with numpy.save",
         path_, what, at_);
  }
  void skip_spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\n')) ++at_;
  }
  bool take(char c) {
    skip_spaces();
    if (at_ >= text_.size() || text_[at_] != c) return false;
    ++at_;
    return true;
  }
  void expect(char c) {
    if (!take(c)) refuse(fmt::format("something else where '{}' is expected", c));
  }
  bool take_word(std::string_view word) {
    skip_spaces();
    if (!text_.substr(at_).starts_with(word)) return false;
    at_ += word.size();
    return true;
  }
  std::string quoted() {
    const char quote = take('"') ? '"' : '\'';
    if (quote == '\'') expect('\'');
    const size_t end = text_.find(quote, at_);
    if (end == std::string_view::npos) refuse("a string without an end");
    const std::string value(text_.substr(at_, end - at_));
    at_ = end + 1;
    return value;
  }
  bool boolean() {
    if (take_word("True")) return true;
    if (!take_word("False")) refuse("neither True nor False as fortran_order");
    return false;
  }
  std::vector<int64_t> tuple() {
    constexpr size_t kMostExtents = 32;  // NumPy's own limit
    std::vector<int64_t> extents;
    expect('(');
    while (!take(')')) {
      skip_spaces();
      int64_t value = -1;
      const char* begin = text_.data() + at_;
      const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
      if (error != std::errc() || value < 0 || extents.size() == kMostExtents)
        refuse("a shape that is not a tuple of sizes");
      at_ += static_cast<size_t>(end - begin);
      extents.push_back(value);
      if (!take(',')) {
        expect(')');
        break;
      }
    }
    return extents;
  }

  const std::string& path_;
  std::string_view text_;
  size_t at_ = 0;
};

// The rows and columns of the header; fails unless they are a matrix that fills `bytes`.
void check_matrix(const std::string& path, const HeaderParser::Header& header, size_t element,
                  size_t bytes) {
  std::string shape;
  for (const int64_t extent : header.shape)
    shape += fmt::format("{}{}", shape.empty() ? "" : ", ", extent);
  if (header.shape.size() != 2 || header.shape[0] < 1 || header.shape[1] < 1)
    fail(ErrorKind::data,
         "{}: an array of shape ({}), where a matrix (images, numbers) is expected", path, shape);
  if (header.fortran_order)
    fail(ErrorKind::data,
         "{}: the array is in Fortran order; save numpy.ascontiguousarray(x) instead", path);
  const int64_t rows = header.shape[0], columns = header.shape[1];
  const uint64_t count = bytes / element;
  if (rows > INT32_MAX || columns > INT32_MAX || bytes % element != 0 ||
      static_cast<uint64_t>(rows) > count ||
      count / static_cast<uint64_t>(rows) != static_cast<uint64_t>(columns) ||
      count % static_cast<uint64_t>(rows) != 0)
    fail(ErrorKind::data,
         "{}: the header says ({}) of {} bytes each, but {} bytes of values follow; the file is "
         "cut short or damaged",
         path, shape, element, bytes);
}

}  // namespace

Features read_npy(const std::string& path) {
  size_t size = 0;
  const FileDescriptor file(open_regular_file(path, size));
  std::array<unsigned char, 12> start{};
  if (size >= start.size()) read_exactly(file.get(), path, start.data(), start.size(), 0);
  if (std::memcmp(start.data(), kMagic.data(), kMagic.size()) != 0)
    fail(ErrorKind::data, "{}: is no .npy file: it does not begin with \\x93NUMPY", path);
  const int major = start[6], minor = start[7];
  if (major < 1 || major > 3 || minor != 0)
    fail(ErrorKind::data, "{}: .npy version {}.{}, where 1.0, 2.0 or 3.0 is expected", path, major,
         minor);
  const size_t length_bytes = major == 1 ? 2 : 4;
  size_t length = 0;
  for (size_t i = length_bytes; i-- > 0;) length = length << 8 | start[kMagicBytes + i];
  const size_t data_begin = kMagicBytes + length_bytes + length;
  if (length > kMostHeaderBytes || data_begin > size)
    fail(ErrorKind::data,
         "{}: a header of {} bytes in a file of {}; the file is cut short or damaged", path, length,
         size);
  std::string text(length, '\0');
  read_exactly(file.get(), path, text.data(), length, kMagicBytes + length_bytes);
  const HeaderParser::Header header = HeaderParser(path, text).parse();
  const bool wide = header.descr == "<f8";
  if (!wide && header.descr != "<f4")
    fail(ErrorKind::data,
         "{}: values of type '{}', where '<f4' or '<f8' is expected; save x.astype('<f4') instead",
         path, header.descr);
  check_matrix(path, header, wide ? sizeof(double) : sizeof(float), size - data_begin);

  Features features(static_cast<int>(header.shape[0]), static_cast<int>(header.shape[1]));
  if (wide) {
    std::vector<double> values(features.values.size());
    read_exactly(file.get(), path, values.data(), values.size() * sizeof(double), data_begin);
    std::ranges::transform(values, features.values.begin(),
                           [](double value) { return static_cast<float>(value); });
  } else {
    read_exactly(file.get(), path, features.values.data(), features.values.size() * sizeof(float),
                 data_begin);
  }
  return features;
}

}  // namespace mono
