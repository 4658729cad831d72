// The image cache: one file of uint8 planes, decoded once by `data pack`, memory-mapped by
// training.
//
//   page 0     header: magic "MONOCACH", format_version, codec, channels, height, width, number of
//              records, offset and size of the index, size of the file, hash of the table's site
//              ids, hash of the index, hash of this page
//   records    raw: (C,H,W) bytes, each record padded to a multiple of 4096
//              delta-zstd: C sizes (u32), C zstd frames of horizontally differenced planes, padded
//              to a multiple of 64
//   index      per record: offset, size (padding included), hash of those bytes, all u64; then per
//              record the site id and a line feed; ascending by site id
// Little-endian. Hashes are XXH3-64. Every byte of the file is under one of them, so that any
// flipped bit is found: in header and index when the cache is opened, in a record when it is read.
// The bytes of a cache depend on the images alone, not on threads or time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

inline constexpr uint32_t kCacheFormatVersion = 1;

enum class CacheCodec : uint32_t { raw = 0, delta_zstd = 1 };
CacheCodec parse_cache_codec(std::string_view text);  // raw | delta-zstd; throws Error(usage)
const char* name_of(CacheCodec codec);

struct CacheShape {
  int channels = 0, height = 0, width = 0;
  size_t plane() const { return static_cast<size_t>(height) * static_cast<size_t>(width); }
  size_t bytes() const { return plane() * static_cast<size_t>(channels); }
};

// The bytes of one record, padded, from planes (C,H,W).
std::vector<uint8_t> encode_record(CacheCodec codec, const CacheShape& shape,
                                   const uint8_t* planes);

// The chosen channels of a record whose checksum has been verified. False if it is malformed.
bool decode_record(CacheCodec codec, const CacheShape& shape, std::span<const uint8_t> record,
                   std::span<const int> channels, uint8_t* planes);

// Whether a file begins as a cache does: it may be written over by one.
bool begins_as_cache(const std::filesystem::path& file);

// Writes records in ascending order of site id to a temporary name beside `file`; finish() writes
// the index, syncs, renames and syncs the folder. Destroyed before that: the temporary file goes.
// Throws Error(storage).
class CacheWriter {
 public:
  CacheWriter(const std::filesystem::path& file, CacheCodec codec, const CacheShape& shape,
              uint64_t table_hash);
  ~CacheWriter();
  void append(std::string_view site_id, std::span<const uint8_t> record);
  uint64_t finish();  // size of the file

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

class Cache {
 public:
  // Maps the file and verifies header and index. Throws Error(data) naming file and reason.
  explicit Cache(const std::filesystem::path& file);
  ~Cache();
  const CacheShape& shape() const;
  CacheCodec codec() const;
  uint64_t table_hash() const;
  int records() const;
  const std::string& site_id(int record) const;
  int find(std::string_view site_id) const;  // record; -1 if there is none
  // Verifies the record's checksum and reads channels (from 0) into planes (n,H,W). Thread-safe.
  // Throws Error(data) naming file and record.
  void read(int record, std::span<const int> channels, uint8_t* planes) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace mono
