#include "train/data/cache.h"

#include "kernels/base/error.h"
#include "train/hash.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <fstream>

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr std::array<char, 8> kMagic = {'M', 'O', 'N', 'O', 'C', 'A', 'C', 'H'};
constexpr size_t kPage = 4096;
constexpr const char* kPackAgain = "make it again with `train_rxrx data pack`";

// Page 0; `page_hash` is over the page with this field zero.
struct Header {
  std::array<char, 8> magic = kMagic;
  uint32_t format_version = kCacheFormatVersion;
  uint32_t codec = 0;
  uint32_t channels = 0, height = 0, width = 0, reserved = 0;
  uint64_t records = 0, index_offset = 0, index_bytes = 0, file_bytes = 0;
  uint64_t table_hash = 0, index_hash = 0, page_hash = 0;
};
static_assert(std::is_trivially_copyable_v<Header> && sizeof(Header) == 88);

struct Entry {
  uint64_t offset = 0, bytes = 0, hash = 0;
};

size_t padded(size_t bytes, size_t unit) {
  return (bytes + unit - 1) / unit * unit;
}

uint64_t hash_of_page(Header header) {
  std::array<uint8_t, kPage> page{};
  header.page_hash = 0;
  std::memcpy(page.data(), &header, sizeof header);
  return hash64(page.data(), page.size());
}

}  // namespace

bool begins_as_cache(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  std::array<char, kMagic.size()> magic{};
  return in.read(magic.data(), magic.size()) && magic == kMagic;
}

CacheCodec parse_cache_codec(std::string_view text) {
  if (text == "raw") return CacheCodec::raw;
  if (text == "delta-zstd") return CacheCodec::delta_zstd;
  fail(ErrorKind::usage, "codec '{}' is unknown; expected is raw or delta-zstd", text);
}

const char* name_of(CacheCodec codec) {
  return codec == CacheCodec::raw ? "raw" : "delta-zstd";
}

std::vector<uint8_t> encode_record(CacheCodec codec, const CacheShape& shape,
                                   const uint8_t* planes) {
  if (codec == CacheCodec::raw) {
    std::vector<uint8_t> record(planes, planes + shape.bytes());
    record.resize(padded(record.size(), kPage));
    return record;
  }
  const size_t plane = shape.plane(),
               table = sizeof(uint32_t) * static_cast<size_t>(shape.channels);
  std::vector<uint8_t> delta(plane);
  std::vector<uint8_t> record(table +
                              static_cast<size_t>(shape.channels) * ZSTD_compressBound(plane));
  size_t at = table;
  for (int c = 0; c < shape.channels; ++c) {
    const uint8_t* in = planes + static_cast<size_t>(c) * plane;
    for (int y = 0; y < shape.height; ++y) {
      const size_t row = static_cast<size_t>(y) * static_cast<size_t>(shape.width);
      delta[row] = in[row];
      for (size_t x = row + 1; x < row + static_cast<size_t>(shape.width); ++x)
        delta[x] = static_cast<uint8_t>(in[x] - in[x - 1]);
    }
    const size_t n = ZSTD_compress(&record[at], record.size() - at, delta.data(), plane, 1);
    MONO_CHECK(!ZSTD_isError(n), "zstd: {}", ZSTD_getErrorName(n));
    const auto size = static_cast<uint32_t>(n);
    std::memcpy(&record[sizeof(uint32_t) * static_cast<size_t>(c)], &size, sizeof size);
    at += n;
  }
  record.resize(at);
  record.resize(padded(at, 64));
  return record;
}

bool decode_record(CacheCodec codec, const CacheShape& shape, std::span<const uint8_t> record,
                   std::span<const int> channels, uint8_t* planes) {
  const size_t plane = shape.plane();
  if (codec == CacheCodec::raw) {
    if (record.size() < shape.bytes()) return false;
    for (const int c : channels) {
      std::memcpy(planes, record.data() + static_cast<size_t>(c) * plane, plane);
      planes += plane;
    }
    return true;
  }
  const auto count = static_cast<size_t>(shape.channels);
  std::vector<uint32_t> sizes(count);
  if (record.size() < count * sizeof(uint32_t)) return false;
  std::memcpy(sizes.data(), record.data(), count * sizeof(uint32_t));
  std::vector<size_t> begin(count + 1, count * sizeof(uint32_t));
  for (size_t c = 0; c < count; ++c) begin[c + 1] = begin[c] + sizes[c];
  if (begin.back() > record.size()) return false;
  for (const int c : channels) {
    const auto i = static_cast<size_t>(c);
    if (ZSTD_decompress(planes, plane, record.data() + begin[i], sizes[i]) != plane) return false;
    for (int y = 0; y < shape.height; ++y) {
      uint8_t* row = planes + static_cast<size_t>(y) * static_cast<size_t>(shape.width);
      uint8_t sum = 0;
      for (int x = 0; x < shape.width; ++x) row[x] = sum = static_cast<uint8_t>(sum + row[x]);
    }
    planes += plane;
  }
  return true;
}

// ---- writing ------------------------------------------------------------------------------------

struct CacheWriter::Impl {
  fs::path file, temporary;
  int fd = -1;
  Header header;
  uint64_t at = kPage;
  std::vector<Entry> entries;
  std::string ids, last_id;

  [[noreturn]] void failed(const char* what) {
    const int error = errno;
    fail(ErrorKind::storage, "{}: cannot be {} ({}); check the folder and the free space",
         temporary.string(), what, std::strerror(error));
  }

  void write(const void* data, size_t bytes, uint64_t offset) {
    const auto* p = static_cast<const uint8_t*>(data);
    while (bytes > 0) {
      const ssize_t n = ::pwrite(fd, p, bytes, static_cast<off_t>(offset));
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) failed("written");
      p += n;
      bytes -= static_cast<size_t>(n);
      offset += static_cast<uint64_t>(n);
    }
  }
};

CacheWriter::CacheWriter(const fs::path& file, CacheCodec codec, const CacheShape& shape,
                         uint64_t table_hash)
    : impl_(std::make_unique<Impl>()) {
  impl_->file = file;
  impl_->temporary = file.string() + fmt::format(".tmp-{}", ::getpid());
  impl_->header.codec = static_cast<uint32_t>(codec);
  impl_->header.channels = static_cast<uint32_t>(shape.channels);
  impl_->header.height = static_cast<uint32_t>(shape.height);
  impl_->header.width = static_cast<uint32_t>(shape.width);
  impl_->header.table_hash = table_hash;
  impl_->fd = ::open(impl_->temporary.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  if (impl_->fd < 0) impl_->failed("created");
}

CacheWriter::~CacheWriter() {
  if (impl_->fd < 0) return;
  ::close(impl_->fd);
  ::unlink(impl_->temporary.c_str());
}

void CacheWriter::append(std::string_view site_id, std::span<const uint8_t> record) {
  MONO_CHECK(impl_->last_id < site_id, "'{}' after '{}'", site_id, impl_->last_id);
  impl_->last_id = site_id;
  impl_->write(record.data(), record.size(), impl_->at);
  impl_->entries.push_back({impl_->at, record.size(), hash64(record.data(), record.size())});
  impl_->ids.append(site_id).push_back('\n');
  impl_->at += record.size();
}

uint64_t CacheWriter::finish() {
  Impl& w = *impl_;
  std::string index(reinterpret_cast<const char*>(w.entries.data()),
                    w.entries.size() * sizeof(Entry));
  index += w.ids;
  w.header.records = w.entries.size();
  w.header.index_offset = w.at;
  w.header.index_bytes = index.size();
  w.header.index_hash = hash64(index);
  w.header.file_bytes = w.at + index.size();
  w.header.page_hash = hash_of_page(w.header);
  std::array<uint8_t, kPage> page{};
  std::memcpy(page.data(), &w.header, sizeof w.header);
  w.write(index.data(), index.size(), w.at);
  w.write(page.data(), page.size(), 0);
  if (::fsync(w.fd) != 0) w.failed("synced");
  if (::close(std::exchange(w.fd, -1)) != 0) w.failed("closed");
  if (::rename(w.temporary.c_str(), w.file.c_str()) != 0) w.failed("renamed");
  const fs::path parent = w.file.has_parent_path() ? w.file.parent_path() : fs::path(".");
  if (const int folder = ::open(parent.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); folder >= 0) {
    ::fsync(folder);
    ::close(folder);
  }
  return w.header.file_bytes;
}

// ---- reading ------------------------------------------------------------------------------------

struct Cache::Impl {
  fs::path file;
  const uint8_t* map = nullptr;
  size_t bytes = 0;
  Header header;
  CacheShape shape;
  std::vector<Entry> entries;
  std::vector<std::string> ids;

  ~Impl() {
    if (map != nullptr) ::munmap(const_cast<uint8_t*>(map), bytes);
  }

  template <class... Args>
  [[noreturn]] void damaged(fmt::format_string<Args...> format, Args&&... args) const {
    fail(ErrorKind::data, "{}: {}; {}", file.string(),
         fmt::vformat(format, fmt::make_format_args(args...)), kPackAgain);
  }

  void open_map() {
    const int fd = ::open(file.c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0)
      fail(ErrorKind::data, "{}: cannot be opened ({}); {}", file.string(), std::strerror(errno),
           kPackAgain);
    struct stat status {};
    const bool regular = ::fstat(fd, &status) == 0 && S_ISREG(status.st_mode);
    bytes = regular ? static_cast<size_t>(status.st_size) : 0;
    void* address =
        bytes >= kPage ? ::mmap(nullptr, bytes, PROT_READ, MAP_SHARED, fd, 0) : MAP_FAILED;
    ::close(fd);
    if (!regular) damaged("is not a regular file");
    if (bytes < kPage) damaged("has {} bytes, the header alone has {}", bytes, kPage);
    if (address == MAP_FAILED) damaged("cannot be mapped ({})", std::strerror(errno));
    map = static_cast<const uint8_t*>(address);
  }

  void read_header() {
    std::memcpy(&header, map, sizeof header);
    if (header.magic != kMagic) damaged("is not an image cache (it does not begin with MONOCACH)");
    Header zeroed = header;
    zeroed.page_hash = 0;
    std::vector<uint8_t> page(map, map + kPage);
    std::memcpy(page.data(), &zeroed, sizeof zeroed);
    if (hash64(page.data(), page.size()) != header.page_hash) damaged("the header is damaged");
    if (header.format_version != kCacheFormatVersion)
      damaged("has format_version {}, this program reads {}", header.format_version,
              kCacheFormatVersion);
    if (header.file_bytes != bytes)
      damaged("has {} bytes, should have {}: it was cut off or added to", bytes, header.file_bytes);
    constexpr uint32_t kMaxSide = 16384, kMaxChannels = 64;
    if (header.channels < 1 || header.channels > kMaxChannels || header.height < 1 ||
        header.height > kMaxSide || header.width < 1 || header.width > kMaxSide ||
        header.codec > static_cast<uint32_t>(CacheCodec::delta_zstd))
      damaged("declares {} channels of {} x {} pixels in codec {}", header.channels, header.height,
              header.width, header.codec);
    shape = {static_cast<int>(header.channels), static_cast<int>(header.height),
             static_cast<int>(header.width)};
  }

  void read_index() {
    if (header.index_offset < kPage || header.index_offset > bytes ||
        header.index_bytes > bytes - header.index_offset ||
        header.index_offset + header.index_bytes != bytes ||
        header.records > header.index_bytes / sizeof(Entry))
      damaged("the index does not fit the file");
    const uint8_t* index = map + header.index_offset;
    if (hash64(index, header.index_bytes) != header.index_hash) damaged("the index is damaged");
    entries.resize(header.records);
    if (!entries.empty()) std::memcpy(entries.data(), index, entries.size() * sizeof(Entry));
    uint64_t expected = kPage;
    for (const Entry& e : entries) {
      if (e.offset != expected || e.bytes > header.index_offset - e.offset)
        damaged("the index names bytes outside of the file");
      expected = e.offset + e.bytes;
    }
    if (expected != header.index_offset) damaged("records and index do not meet");
    const auto* text = reinterpret_cast<const char*>(index) + entries.size() * sizeof(Entry);
    std::string_view names(text, header.index_bytes - entries.size() * sizeof(Entry));
    for (size_t end; (end = names.find('\n')) != names.npos; names.remove_prefix(end + 1))
      ids.emplace_back(names.substr(0, end));
    if (ids.size() != entries.size() || !names.empty() || !std::is_sorted(ids.begin(), ids.end()))
      damaged("the index has {} records and {} site ids", entries.size(), ids.size());
  }
};

Cache::Cache(const fs::path& file) : impl_(std::make_unique<Impl>()) {
  impl_->file = file;
  impl_->open_map();
  impl_->read_header();
  impl_->read_index();
}

Cache::~Cache() = default;
const CacheShape& Cache::shape() const {
  return impl_->shape;
}
CacheCodec Cache::codec() const {
  return static_cast<CacheCodec>(impl_->header.codec);
}
uint64_t Cache::table_hash() const {
  return impl_->header.table_hash;
}
int Cache::records() const {
  return static_cast<int>(impl_->entries.size());
}
const std::string& Cache::site_id(int record) const {
  return impl_->ids[static_cast<size_t>(record)];
}

int Cache::find(std::string_view site_id) const {
  const auto it = std::lower_bound(impl_->ids.begin(), impl_->ids.end(), site_id);
  return it != impl_->ids.end() && *it == site_id ? static_cast<int>(it - impl_->ids.begin()) : -1;
}

void Cache::read(int record, std::span<const int> channels, uint8_t* planes) const {
  const Entry& e = impl_->entries[static_cast<size_t>(record)];
  for (const int c : channels)
    MONO_CHECK(c >= 0 && c < impl_->shape.channels, "channel {} of {}", c, impl_->shape.channels);
  const std::span<const uint8_t> bytes(impl_->map + e.offset, e.bytes);
  if (hash64(bytes.data(), bytes.size()) != e.hash)
    impl_->damaged("record {} ({}) is damaged: its checksum differs", record, site_id(record));
  if (!decode_record(codec(), impl_->shape, bytes, channels, planes))
    impl_->damaged("record {} ({}) is malformed", record, site_id(record));
}

}  // namespace mono
