// PNG, 8 bits a channel, grey or RGB, not interlaced: what RxRx1 and RxRx1-WILDS consist of.
//
// The reader is strict, because a screen is copied over many networks before it is trained on: it
// checks the signature, every chunk's length and CRC, the order of chunks, the zlib stream's exact
// size and checksum, every filter byte and the end of the file. Any single flipped bit is detected.
// What a file declares is bounded by what it holds before anything is allocated. Our own container
// over zlib's inflate: stb_image accepts over half of all single-bit errors with wrong pixels.
// Source: W3C PNG specification, 3rd edition, sections 5, 9 and 10.
#pragma once

#include "kernels/base/error.h"

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

inline constexpr int kMaxImageSide = 16384;

struct PngInfo {
  int width = 0, height = 0;
  int channels = 1;  // 1 grey, 3 RGB
  bool operator==(const PngInfo&) const = default;
  size_t bytes() const {
    return static_cast<size_t>(width) * static_cast<size_t>(height) * static_cast<size_t>(channels);
  }
};

enum class PngFault : uint8_t {
  missing,  // the file cannot be opened
  damaged,  // not what an encoder wrote: bits, length, order
  format,   // a valid PNG of a kind that this program does not read
  size      // another size or number of channels than expected
};
const char* name_of(PngFault fault);

// Thrown for anything wrong with a file; ErrorKind::data.
class PngError : public Error {
 public:
  PngError(PngFault fault, const std::string& message)
      : Error(ErrorKind::data, message), fault_(fault) {}
  PngFault fault() const { return fault_; }

 private:
  PngFault fault_;
};

// All of these throw PngError; `file` is the name that messages begin with.

// The whole file, at most 256 MiB. A file that cannot be opened is PngFault::missing.
std::vector<uint8_t> read_png_file(const std::filesystem::path& path, std::string_view file);

// Signature and IHDR only: `bytes` may be the first 33 bytes of a file.
PngInfo png_header(std::span<const uint8_t> bytes, std::string_view file);

// Checks and decodes a whole file of the expected size into pixels[expected.bytes()], (H,W,C).
void decode_png(std::span<const uint8_t> bytes, std::string_view file, const PngInfo& expected,
                uint8_t* pixels);

// A complete file: pixels (H,W,C), adaptive filters, zlib at `level` 0..9.
std::vector<uint8_t> encode_png(const PngInfo& info, const uint8_t* pixels, int level = 6);

// encode_png to a file. Throws Error(storage).
void write_png(const std::filesystem::path& path, const PngInfo& info, const uint8_t* pixels,
               int level = 6);

}  // namespace mono
