#include "train/evaluate/npy.h"

#include <fmt/format.h>

#include <array>
#include <bit>

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

}  // namespace mono
