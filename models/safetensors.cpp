#include "models/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>

#include "kernels/base/error.h"
#include "models/durable_file.h"
#include "models/safetensors_header.h"

namespace mono {
namespace {

static_assert(std::endian::native == std::endian::little, "the format is little-endian");

std::string join(const std::vector<int64_t>& shape) {
  std::string out;
  for (const int64_t extent : shape) out += (out.empty() ? "" : ",") + std::to_string(extent);
  return out;
}

// The bytes of a shape; false where the product does not fit.
bool byte_count(const std::vector<int64_t>& shape, size_t element_bytes, size_t& bytes) {
  bytes = element_bytes;
  for (const int64_t extent : shape)
    if (__builtin_mul_overflow(bytes, static_cast<size_t>(extent), &bytes)) return false;
  return true;
}

// Tensors tile [0, data_bytes) exactly, each as long as its shape and dtype say.
void check_layout(const std::string& path, const std::vector<SafetensorsEntry>& entries,
                  size_t data_bytes) {
  for (const SafetensorsEntry& entry : entries) {
    if (entry.begin > entry.end)
      fail(ErrorKind::data,
           "{}: tensor '{}': data_offsets [{}, {}] run backwards; the file is "
           "damaged or was written by a faulty program",
           path, entry.name, entry.begin, entry.end);
    if (entry.end > data_bytes)
      fail(ErrorKind::data,
           "{}: tensor '{}': ends at byte {} of the data, but the file holds {}; "
           "was it copied or downloaded completely?",
           path, entry.name, entry.end, data_bytes);
    size_t bytes = 0;
    if (!byte_count(entry.shape, safetensors_element_bytes(entry.dtype), bytes))
      fail(ErrorKind::data,
           "{}: tensor '{}': the size of {} overflows 64 bits; the file is "
           "damaged or hostile",
           path, entry.name, describe(entry));
    if (bytes != entry.end - entry.begin)
      fail(ErrorKind::data,
           "{}: tensor '{}': {} needs {} bytes, but data_offsets [{}, {}] give {}; "
           "the file is damaged or was written by a faulty program",
           path, entry.name, describe(entry), bytes, entry.begin, entry.end,
           entry.end - entry.begin);
  }
  size_t covered = 0;
  const SafetensorsEntry* before = nullptr;
  for (const SafetensorsEntry& entry : entries) {  // sorted by begin, then end
    if (entry.begin < covered)
      fail(ErrorKind::data,
           "{}: tensor '{}': begins at byte {}, inside '{}', which ends at {}; "
           "tensors may not overlap",
           path, entry.name, entry.begin, before->name, covered);
    if (entry.begin > covered)
      fail(ErrorKind::data,
           "{}: tensor '{}': begins at byte {}, but what precedes it ends at {}; "
           "the data may have no hole",
           path, entry.name, entry.begin, covered);
    covered = entry.end;
    before = &entry;
  }
  if (covered != data_bytes)
    fail(ErrorKind::data,
         "{}: the tensors end at byte {} of the data, but the file holds {}; "
         "something was appended, or the header was cut",
         path, covered, data_bytes);
}

}  // namespace

int64_t SafetensorsEntry::elements() const {
  int64_t count = 1;
  for (const int64_t extent : shape) count *= extent;
  return count;
}

std::string describe(const SafetensorsEntry& entry) {
  return fmt::format("{} ({})", entry.dtype, join(entry.shape));
}

SafetensorsFile::SafetensorsFile(std::string path) : path_(std::move(path)) {
  size_t size = 0;
  FileDescriptor file(open_regular_file(path_, size));
  if (size < 8)
    fail(ErrorKind::data,
         "{}: {} bytes, but a .safetensors file starts with 8 bytes of header "
         "length; is it empty or cut off?",
         path_, size);
  uint64_t header_bytes = 0;
  read_exactly(file.get(), path_, &header_bytes, 8, 0);
  if (header_bytes > kMaxHeaderBytes)
    fail(ErrorKind::data,
         "{}: the header claims {} bytes, more than the {} that the format "
         "allows; is this a .safetensors file (a pickle .pth has to be converted first)?",
         path_, header_bytes, kMaxHeaderBytes);
  if (header_bytes > size - 8)
    fail(ErrorKind::data,
         "{}: the header claims {} bytes, but only {} follow; was the file copied "
         "or downloaded completely?",
         path_, header_bytes, size - 8);

  std::string header(header_bytes, '\0');
  read_exactly(file.get(), path_, header.data(), header_bytes, 8);
  SafetensorsHeader parsed = parse_safetensors_header(path_, header);
  entries_ = std::move(parsed.entries);
  metadata_ = std::move(parsed.metadata);
  std::sort(entries_.begin(), entries_.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const size_t data_bytes = size - 8 - header_bytes;
  check_layout(path_, entries_, data_bytes);
  for (size_t i = 0; i < entries_.size(); ++i) index_.emplace(entries_[i].name, i);

  data_ = std::make_unique_for_overwrite<std::byte[]>(data_bytes);
  read_exactly(file.get(), path_, data_.get(), data_bytes, 8 + header_bytes);
}

const SafetensorsEntry* SafetensorsFile::find(std::string_view name) const {
  const auto found = index_.find(name);
  return found == index_.end() ? nullptr : &entries_[found->second];
}

const SafetensorsEntry& SafetensorsFile::entry(std::string_view name) const {
  const SafetensorsEntry* found = find(name);
  if (!found)
    fail(ErrorKind::data, "{}: there is no tensor '{}' among its {}", path_, name, entries_.size());
  return *found;
}

std::span<const std::byte> SafetensorsFile::bytes(std::string_view name) const {
  const SafetensorsEntry& found = entry(name);
  return {data_.get() + found.begin, found.end - found.begin};
}

std::span<const std::byte> SafetensorsFile::bytes_of_type(std::string_view name,
                                                          std::string_view dtype) const {
  const SafetensorsEntry& found = entry(name);
  if (found.dtype != dtype)
    fail(ErrorKind::data, "{}: tensor '{}': is {}, where {} is expected; convert it first", path_,
         name, describe(found), dtype);
  return bytes(name);
}

void write_safetensors(const std::string& path, std::span<const SafetensorsTensor> tensors,
                       const SafetensorsMetadata& metadata) {
  std::vector<const SafetensorsTensor*> order;
  for (const SafetensorsTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const auto* a, const auto* b) {
    const size_t bytes_a = safetensors_element_bytes(a->dtype);
    const size_t bytes_b = safetensors_element_bytes(b->dtype);
    return bytes_a != bytes_b ? bytes_a > bytes_b : a->name < b->name;
  });

  std::string header = "{";
  if (!metadata.empty()) {
    header += "\"__metadata__\":{";
    for (const auto& [key, value] : metadata)
      header += fmt::format("{}{}:{}", header.back() == '{' ? "" : ",", quote_json(key),
                            quote_json(value));
    header += "}";
  }
  std::vector<std::span<const std::byte>> pieces(1);
  size_t offset = 0;
  std::vector<std::string_view> names;
  for (const SafetensorsTensor* tensor : order) {
    names.push_back(tensor->name);
    size_t bytes = 0;
    const size_t element_bytes = safetensors_element_bytes(tensor->dtype);
    MONO_CHECK(element_bytes > 0, "tensor '{}': dtype {}", tensor->name, tensor->dtype);
    MONO_CHECK(byte_count(tensor->shape, element_bytes, bytes) && bytes == tensor->bytes.size(),
               "tensor '{}': {} ({}) does not describe its {} bytes", tensor->name, tensor->dtype,
               join(tensor->shape), tensor->bytes.size());
    header += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                          header.back() == '{' ? "" : ",", quote_json(tensor->name), tensor->dtype,
                          join(tensor->shape), offset, offset + bytes);
    offset += bytes;
    pieces.push_back(tensor->bytes);
  }
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  MONO_CHECK(twice == names.end(), "tensor '{}' is given twice", *twice);

  header += "}";
  header.resize((header.size() + 7) / 8 * 8, ' ');
  const uint64_t header_bytes = header.size();
  header.insert(0, reinterpret_cast<const char*>(&header_bytes), 8);
  pieces[0] = std::as_bytes(std::span(header.data(), header.size()));
  write_file_durably(path, pieces);
}

}  // namespace mono
