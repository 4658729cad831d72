#include "train/data/png.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>

namespace mono {
namespace {

constexpr std::array<uint8_t, 8> kSignature = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
constexpr size_t kMaxFile = size_t{256} << 20;
constexpr size_t kHeaderBytes = 8 + 12 + 13;
// A deflate stream cannot expand by more than this (zlib's documentation).
constexpr uint64_t kMaxExpansion = 1032;

template <class... Args>
[[noreturn]] void fault(PngFault kind, std::string_view file, fmt::format_string<Args...> format,
                        Args&&... args) {
  throw PngError(kind,
                 fmt::format("{}: {}", file, fmt::vformat(format, fmt::make_format_args(args...))));
}

constexpr const char* kCopyAgain = "the file is damaged: copy or download it again";

uint32_t big_endian(const uint8_t* p) {
  return uint32_t{p[0]} << 24 | uint32_t{p[1]} << 16 | uint32_t{p[2]} << 8 | uint32_t{p[3]};
}

struct Chunk {
  std::string_view type;
  std::span<const uint8_t> data;
};

// The chunk at `offset`, its length and CRC checked; moves offset behind it.
Chunk next_chunk(std::span<const uint8_t> bytes, size_t& offset, std::string_view file) {
  if (bytes.size() - offset < 12)
    fault(PngFault::damaged, file, "ends at byte {} inside a chunk (no IEND); {}", bytes.size(),
          kCopyAgain);
  const uint32_t length = big_endian(&bytes[offset]);
  const auto* type = reinterpret_cast<const char*>(&bytes[offset + 4]);
  if (length > bytes.size() - offset - 12)
    fault(PngFault::damaged, file,
          "chunk at byte {} declares {} bytes of data, {} are left in the file; {}", offset, length,
          bytes.size() - offset - 12, kCopyAgain);
  const uint8_t* data = bytes.data() + offset + 8;
  const uint32_t stored = big_endian(data + length);
  const auto computed =
      static_cast<uint32_t>(crc32(0, bytes.data() + offset + 4, static_cast<uInt>(length) + 4));
  if (stored != computed)
    fault(PngFault::damaged, file, "CRC of the chunk at byte {} is {:08x}, should be {:08x}; {}",
          offset, stored, computed, kCopyAgain);
  offset += size_t{12} + length;
  return {std::string_view(type, 4), std::span(data, length)};
}

PngInfo parse_header(std::span<const uint8_t> data, std::string_view file) {
  if (data.size() != 13)
    fault(PngFault::damaged, file, "IHDR has {} bytes, should have 13; {}", data.size(),
          kCopyAgain);
  const uint32_t width = big_endian(&data[0]), height = big_endian(&data[4]);
  const int depth = data[8], colour = data[9];
  if (width < 1 || height < 1 || width > kMaxImageSide || height > kMaxImageSide)
    fault(PngFault::damaged, file, "declares {} x {} pixels, allowed is 1 to {} a side; {}", width,
          height, kMaxImageSide, kCopyAgain);
  constexpr const char* kConvert = "convert it to 8-bit grey (e.g. `convert IN -depth 8 OUT`)";
  if (colour != 0 && colour != 2)
    fault(PngFault::format, file, "colour type is {} ({}), only grey (0) and RGB (2) are read; {}",
          colour,
          colour == 3   ? "palette"
          : colour == 4 ? "grey with alpha"
                        : "with alpha or unknown",
          kConvert);
  if (depth != 8)
    fault(PngFault::format, file,
          "{} bits a channel, only 8 are read; {}, after scaling all images of the screen alike",
          depth, kConvert);
  if (data[10] != 0 || data[11] != 0)
    fault(PngFault::format, file, "unknown compression {} or filter method {}; {}", data[10],
          data[11], kCopyAgain);
  if (data[12] != 0) fault(PngFault::format, file, "is interlaced; save it without interlacing");
  return {static_cast<int>(width), static_cast<int>(height), colour == 0 ? 1 : 3};
}

PngInfo header_at(std::span<const uint8_t> bytes, size_t& offset, std::string_view file) {
  if (bytes.empty()) fault(PngFault::damaged, file, "is empty; {}", kCopyAgain);
  if (bytes.size() < kHeaderBytes)
    fault(PngFault::damaged, file, "has {} bytes, a PNG header alone has {}; {}", bytes.size(),
          kHeaderBytes, kCopyAgain);
  if (!std::equal(kSignature.begin(), kSignature.end(), bytes.begin())) {
    const bool lfs = std::memcmp(bytes.data(), "version https://git-lfs", 23) == 0;
    fault(PngFault::damaged, file, "does not begin with the PNG signature{}; {}",
          lfs ? " (it is a Git LFS pointer)" : "", kCopyAgain);
  }
  offset = kSignature.size();
  const Chunk chunk = next_chunk(bytes, offset, file);
  if (chunk.type != "IHDR")
    fault(PngFault::damaged, file, "the first chunk is '{}', not IHDR; {}", chunk.type, kCopyAgain);
  return parse_header(chunk.data, file);
}

// The spans of all IDAT chunks; checks the order of chunks and the end of the file.
std::vector<std::span<const uint8_t>> image_data(std::span<const uint8_t> bytes, size_t offset,
                                                 const PngInfo& info, std::string_view file) {
  std::vector<std::span<const uint8_t>> data;
  bool ended = false, palette = false;  // of the run of IDAT chunks
  for (;;) {
    const size_t at = offset;
    const Chunk chunk = next_chunk(bytes, offset, file);
    if (chunk.type == "IEND") {
      if (!chunk.data.empty())
        fault(PngFault::damaged, file, "IEND at byte {} has data; {}", at, kCopyAgain);
      break;
    }
    if (chunk.type == "IDAT") {
      if (ended)
        fault(PngFault::damaged, file, "a second run of IDAT chunks begins at byte {}; {}", at,
              kCopyAgain);
      data.push_back(chunk.data);
      continue;
    }
    ended = !data.empty();
    if (chunk.type == "PLTE" && info.channels == 3 && !palette && data.empty()) {
      palette = true;  // a suggestion to displays, legal once in RGB
      continue;
    }
    if ((chunk.type[0] & 0x20) == 0)  // upper case: critical
      fault(PngFault::damaged, file, "chunk '{}' at byte {} is unknown or out of place; {}",
            chunk.type, at, kCopyAgain);
  }
  if (offset != bytes.size())
    fault(PngFault::damaged, file, "{} bytes follow the end of the image; {}",
          bytes.size() - offset, kCopyAgain);
  return data;
}

void inflate_all(const std::vector<std::span<const uint8_t>>& data, std::span<uint8_t> out,
                 std::string_view file) {
  z_stream stream{};
  MONO_CHECK(inflateInit(&stream) == Z_OK, "zlib");
  struct End {
    z_stream* s;
    ~End() { inflateEnd(s); }
  } end{&stream};
  // `out` has one byte more than the image: a stream that fills it is too long.
  stream.next_out = out.data();
  stream.avail_out = static_cast<uInt>(out.size());
  int status = Z_OK;
  size_t unread = 0;
  for (const auto& part : data) {
    if (status == Z_STREAM_END) {
      unread += part.size();
      continue;
    }
    stream.next_in = const_cast<Bytef*>(part.data());
    stream.avail_in = static_cast<uInt>(part.size());
    while (stream.avail_in > 0 && status == Z_OK && stream.avail_out > 0)
      status = inflate(&stream, Z_NO_FLUSH);
    unread += stream.avail_in;
    if (status != Z_OK && status != Z_STREAM_END)
      fault(PngFault::damaged, file, "the compressed image is invalid ({}); {}",
            stream.msg ? stream.msg : "zlib", kCopyAgain);
  }
  const size_t wanted = out.size() - 1, got = out.size() - stream.avail_out;
  if (got != wanted || status != Z_STREAM_END)
    fault(PngFault::damaged, file, "the compressed image holds {} bytes, should hold {}; {}",
          got > wanted ? "more" : fmt::format("{}", got), wanted, kCopyAgain);
  if (unread > 0)
    fault(PngFault::damaged, file, "{} bytes follow the compressed image; {}", unread, kCopyAgain);
}

inline int paeth(int left, int up, int corner) {
  const int p = up - corner, q = left - corner;
  const int to_left = std::abs(p), to_up = std::abs(q), to_corner = std::abs(p + q);
  if (to_left <= to_up && to_left <= to_corner) return left;
  return to_up <= to_corner ? up : corner;
}

// One row, filter undone in place of `row`; `above` is the finished row before (zeros at the top).
template <int kBytes>
bool unfilter(int filter, const uint8_t* in, const uint8_t* above, uint8_t* row, int n) {
  const auto byte = [](int v) { return static_cast<uint8_t>(v); };
  switch (filter) {
    case 0:
      std::memcpy(row, in, static_cast<size_t>(n));
      return true;
    case 1:
      for (int i = 0; i < n; ++i) row[i] = byte(in[i] + (i < kBytes ? 0 : row[i - kBytes]));
      return true;
    case 2:
      for (int i = 0; i < n; ++i) row[i] = byte(in[i] + above[i]);
      return true;
    case 3:
      for (int i = 0; i < n; ++i)
        row[i] = byte(in[i] + ((i < kBytes ? 0 : row[i - kBytes]) + above[i]) / 2);
      return true;
    case 4: {
      for (int i = 0; i < kBytes; ++i) row[i] = byte(in[i] + above[i]);
      if constexpr (kBytes == 1) {  // left and corner stay in registers: the loop is serial in them
        int left = row[0], corner = above[0];
        for (int i = 1; i < n; ++i) {
          const int up = above[i];
          left = byte(in[i] + paeth(left, up, corner));
          row[i] = static_cast<uint8_t>(left);
          corner = up;
        }
      } else {
        for (int i = kBytes; i < n; ++i)
          row[i] = byte(in[i] + paeth(row[i - kBytes], above[i], above[i - kBytes]));
      }
      return true;
    }
    default:
      return false;
  }
}

// The same row under one of the five filters, and the sum of absolute (signed) residues: the usual
// measure by which encoders choose.
int64_t filter_row(int filter, const uint8_t* row, const uint8_t* above, int n, int bytes,
                   uint8_t* out) {
  int64_t cost = 0;
  for (int i = 0; i < n; ++i) {
    const int left = i < bytes ? 0 : row[i - bytes];
    const int corner = i < bytes ? 0 : above[i - bytes];
    const int up = above[i];
    int guess = 0;
    if (filter == 1) guess = left;
    if (filter == 2) guess = up;
    if (filter == 3) guess = (left + up) / 2;
    if (filter == 4) guess = paeth(left, up, corner);
    out[i] = static_cast<uint8_t>(row[i] - guess);
    cost += std::abs(static_cast<int8_t>(out[i]));
  }
  return cost;
}

void append_chunk(std::vector<uint8_t>& file, const char* type, std::span<const uint8_t> data) {
  const auto put = [&file](uint32_t v) {
    for (int shift = 24; shift >= 0; shift -= 8) file.push_back(static_cast<uint8_t>(v >> shift));
  };
  put(static_cast<uint32_t>(data.size()));
  const size_t start = file.size();
  file.insert(file.end(), type, type + 4);
  file.insert(file.end(), data.begin(), data.end());
  put(static_cast<uint32_t>(crc32(0, &file[start], static_cast<uInt>(file.size() - start))));
}

}  // namespace

const char* name_of(PngFault fault) {
  switch (fault) {
    case PngFault::missing:
      return "missing";
    case PngFault::damaged:
      return "damaged";
    case PngFault::format:
      return "format";
    case PngFault::size:
      return "size";
  }
  return "?";
}

std::vector<uint8_t> read_png_file(const std::filesystem::path& path, std::string_view file) {
  const int fd = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    fault(PngFault::missing, file, "cannot be opened ({}); check the path and the copy",
          std::strerror(errno));
  struct Close {
    int fd;
    ~Close() { ::close(fd); }
  } close{fd};
  struct stat status {};
  if (::fstat(fd, &status) != 0 || !S_ISREG(status.st_mode))
    fault(PngFault::damaged, file, "is not a regular file; put the image there");
  if (status.st_size < 0 || static_cast<uint64_t>(status.st_size) > kMaxFile)
    fault(PngFault::damaged, file, "has {} bytes, at most {} are read; {}", status.st_size,
          kMaxFile, kCopyAgain);
  std::vector<uint8_t> bytes(static_cast<size_t>(status.st_size));
  size_t done = 0;
  while (done < bytes.size()) {
    const ssize_t n = ::read(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0)
      fault(PngFault::damaged, file, "cannot be read ({}); check the disk", std::strerror(errno));
    if (n == 0) break;  // shorter than its size: the chunk walk will say so
    done += static_cast<size_t>(n);
  }
  bytes.resize(done);
  return bytes;
}

PngInfo png_header(std::span<const uint8_t> bytes, std::string_view file) {
  size_t offset = 0;
  return header_at(bytes, offset, file);
}

void decode_png(std::span<const uint8_t> bytes, std::string_view file, const PngInfo& expected,
                uint8_t* pixels) {
  size_t offset = 0;
  const PngInfo info = header_at(bytes, offset, file);
  if (info != expected)
    fault(
        PngFault::size, file,
        "is {} x {} pixels with {} channel(s), the screen's images are {} x {} with {}; replace it",
        info.width, info.height, info.channels, expected.width, expected.height, expected.channels);
  const auto data = image_data(bytes, offset, info, file);
  size_t compressed = 0;
  for (const auto& part : data) compressed += part.size();
  const int stride = info.width * info.channels;
  const size_t raw_bytes = (static_cast<size_t>(stride) + 1) * static_cast<size_t>(info.height);
  if (raw_bytes > compressed * kMaxExpansion)
    fault(PngFault::damaged, file, "{} bytes of compressed image cannot hold {} x {} pixels; {}",
          compressed, info.width, info.height, kCopyAgain);

  std::vector<uint8_t> raw(raw_bytes + 1);
  inflate_all(data, raw, file);
  const std::vector<uint8_t> zeros(static_cast<size_t>(stride), 0);
  const uint8_t* above = zeros.data();
  for (int y = 0; y < info.height; ++y) {
    const uint8_t* in = raw.data() + static_cast<size_t>(y) * (static_cast<size_t>(stride) + 1);
    uint8_t* row = pixels + static_cast<size_t>(y) * static_cast<size_t>(stride);
    const bool known = info.channels == 1 ? unfilter<1>(in[0], in + 1, above, row, stride)
                                          : unfilter<3>(in[0], in + 1, above, row, stride);
    if (!known)
      fault(PngFault::damaged, file, "row {} has the unknown filter {}; {}", y, in[0], kCopyAgain);
    above = row;
  }
}

std::vector<uint8_t> encode_png(const PngInfo& info, const uint8_t* pixels, int level) {
  MONO_CHECK(info.width >= 1 && info.height >= 1 && info.width <= kMaxImageSide &&
                 info.height <= kMaxImageSide && (info.channels == 1 || info.channels == 3),
             "{} x {} x {}", info.width, info.height, info.channels);
  const int stride = info.width * info.channels;
  const auto row_bytes = static_cast<size_t>(stride) + 1;
  std::vector<uint8_t> raw(row_bytes * static_cast<size_t>(info.height));
  std::vector<uint8_t> trial(static_cast<size_t>(stride));
  const std::vector<uint8_t> zeros(static_cast<size_t>(stride), 0);
  for (int y = 0; y < info.height; ++y) {
    const uint8_t* row = pixels + static_cast<size_t>(y) * static_cast<size_t>(stride);
    const uint8_t* above = y == 0 ? zeros.data() : row - stride;
    uint8_t* out = &raw[static_cast<size_t>(y) * row_bytes];
    int64_t best = INT64_MAX;
    for (int filter = 0; filter < 5; ++filter) {
      const int64_t cost = filter_row(filter, row, above, stride, info.channels, trial.data());
      if (cost >= best) continue;
      best = cost;
      out[0] = static_cast<uint8_t>(filter);
      std::memcpy(out + 1, trial.data(), trial.size());
    }
  }
  uLongf size = compressBound(static_cast<uLong>(raw.size()));
  std::vector<uint8_t> compressed(size);
  MONO_CHECK(compress2(compressed.data(), &size, raw.data(), static_cast<uLong>(raw.size()),
                       level) == Z_OK,
             "zlib");
  compressed.resize(size);

  std::array<uint8_t, 13> header{};
  for (int i = 0; i < 4; ++i) {
    header[static_cast<size_t>(i)] = static_cast<uint8_t>(info.width >> (24 - 8 * i));
    header[static_cast<size_t>(4 + i)] = static_cast<uint8_t>(info.height >> (24 - 8 * i));
  }
  header[8] = 8;
  header[9] = info.channels == 1 ? 0 : 2;
  std::vector<uint8_t> file(kSignature.begin(), kSignature.end());
  file.reserve(compressed.size() + 64);
  append_chunk(file, "IHDR", header);
  append_chunk(file, "IDAT", compressed);
  append_chunk(file, "IEND", {});
  return file;
}

void write_png(const std::filesystem::path& path, const PngInfo& info, const uint8_t* pixels,
               int level) {
  const std::vector<uint8_t> bytes = encode_png(info, pixels, level);
  const int fd = ::open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0666);
  size_t done = 0;
  while (fd >= 0 && done < bytes.size()) {
    const ssize_t n = ::write(fd, bytes.data() + done, bytes.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    done += static_cast<size_t>(n);
  }
  const int error = errno;
  if (fd < 0 || done < bytes.size() || ::close(fd) != 0)
    fail(ErrorKind::storage, "{}: cannot be written ({}); check the folder and the free space",
         path.string(), std::strerror(error));
}

}  // namespace mono
