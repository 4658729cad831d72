// .safetensors files: a strict reader and a deterministic writer.
//
// The format: 8 bytes little-endian header length; a JSON object {name: {"dtype", "shape",
// "data_offsets": [begin, end]}, ..., "__metadata__": {string: string}}; then the data. A file may
// come from anywhere, so the reader believes nothing: every bound is checked against the size of
// the file before anything of that size is allocated, products are checked for overflow, tensors
// must tile the data exactly (no hole, no overlap), names must be unique, text must be UTF-8.
// Values are not looked at: a NaN is the caller's to judge.
//
// All errors of reading are ErrorKind::data and name file, tensor, both values and the remedy;
// errors of writing are ErrorKind::storage.
// Source of the rules: github.com/huggingface/safetensors (README, "Format").
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

struct SafetensorsEntry {
  std::string name;
  std::string dtype;           // "F32", "F64", "BF16", "I32", "U8", "I64", ... as in the file
  std::vector<int64_t> shape;  // empty for a scalar
  size_t begin = 0, end = 0;   // bytes within the data section

  int64_t elements() const;
};

using SafetensorsMetadata = std::map<std::string, std::string>;

// "F32 (64,3,7,7)"
std::string describe(const SafetensorsEntry& entry);

class SafetensorsFile {
 public:
  static constexpr size_t kMaxHeaderBytes = 100'000'000;
  static constexpr size_t kMaxTensors = 65'536;
  static constexpr size_t kMaxRank = 8;

  // Reads the whole file.
  explicit SafetensorsFile(std::string path);

  const std::string& path() const { return path_; }
  // In the order of the data.
  const std::vector<SafetensorsEntry>& entries() const { return entries_; }
  const SafetensorsMetadata& metadata() const { return metadata_; }

  const SafetensorsEntry* find(std::string_view name) const;  // null if absent
  const SafetensorsEntry& entry(std::string_view name) const;

  // Little-endian values, row-major, valid as long as this object. Not necessarily aligned.
  std::span<const std::byte> bytes(std::string_view name) const;

  // The values of a tensor whose dtype is that of T: float F32, double F64, int32_t I32.
  template <class T>
  std::vector<T> values(std::string_view name) const {
    const std::span<const std::byte> from = bytes_of_type(name, dtype_name<T>());
    std::vector<T> out(from.size() / sizeof(T));
    if (!from.empty()) std::memcpy(out.data(), from.data(), from.size());
    return out;
  }

 private:
  template <class T>
  static constexpr std::string_view dtype_name() {
    if constexpr (std::is_same_v<T, float>) return "F32";
    if constexpr (std::is_same_v<T, double>) return "F64";
    if constexpr (std::is_same_v<T, int32_t>) return "I32";
  }
  std::span<const std::byte> bytes_of_type(std::string_view name, std::string_view dtype) const;

  std::string path_;
  std::vector<SafetensorsEntry> entries_;
  std::map<std::string, size_t, std::less<>> index_;
  SafetensorsMetadata metadata_;
  std::unique_ptr<std::byte[]> data_;
};

// What is written: a name, dtype and shape, and the bytes (borrowed during the call).
struct SafetensorsTensor {
  std::string name;
  std::string dtype;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;
};

inline SafetensorsTensor safetensors_f32(std::string name, std::vector<int64_t> shape,
                                         std::span<const float> values) {
  return {std::move(name), "F32", std::move(shape), std::as_bytes(values)};
}
inline SafetensorsTensor safetensors_f64(std::string name, std::vector<int64_t> shape,
                                         std::span<const double> values) {
  return {std::move(name), "F64", std::move(shape), std::as_bytes(values)};
}

// Writes the tensors durably (durable_file.h). Equal input gives an equal file, whatever the order
// of `tensors`: larger element types first, then by name, so that every tensor is aligned; the
// data starts at a multiple of 8.
void write_safetensors(const std::string& path, std::span<const SafetensorsTensor> tensors,
                       const SafetensorsMetadata& metadata = {});

}  // namespace mono
