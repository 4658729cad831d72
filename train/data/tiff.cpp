#include "train/data/tiff.h"

#include <algorithm>
#include <string>
#include <system_error>
#include <vector>

#ifdef MONO_TIFF
#include <tiffio.h>

#include <cstdarg>
#include <cstdio>
#include <memory>
#endif

namespace mono {

#ifdef MONO_TIFF

namespace {

// libtiff reports errors through one function for the whole program.
thread_local std::string last_error;

void keep_error(const char* /*module*/, const char* format, va_list arguments) {
  char text[256];
  std::vsnprintf(text, sizeof text, format, arguments);
  last_error = text;
}

struct Close {
  void operator()(TIFF* tiff) const { TIFFClose(tiff); }
};
using Handle = std::unique_ptr<TIFF, Close>;

Handle open_tiff(const std::filesystem::path& path, std::string_view file) {
  static const bool quiet = [] {
    TIFFSetErrorHandler(keep_error);
    TIFFSetWarningHandler(nullptr);
    return true;
  }();
  (void)quiet;
  std::error_code error;
  if (!std::filesystem::exists(path, error))
    throw PngError(PngFault::missing, fmt::format("{}: does not exist", file));
  last_error.clear();
  Handle tiff(TIFFOpen(path.c_str(), "rm"));  // m: read, do not map
  if (!tiff)
    throw PngError(PngFault::damaged,
                   fmt::format("{}: is not a TIFF ({}); copy it again", file, last_error));
  return tiff;
}

struct Kind {
  uint32_t width = 0, height = 0;
  uint16_t bits = 1, samples = 1, format = SAMPLEFORMAT_UINT, photometric = PHOTOMETRIC_MINISBLACK;
};

Kind kind_of(TIFF* tiff, std::string_view file) {
  Kind k;
  TIFFGetField(tiff, TIFFTAG_IMAGEWIDTH, &k.width);
  TIFFGetField(tiff, TIFFTAG_IMAGELENGTH, &k.height);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_BITSPERSAMPLE, &k.bits);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLESPERPIXEL, &k.samples);
  TIFFGetFieldDefaulted(tiff, TIFFTAG_SAMPLEFORMAT, &k.format);
  TIFFGetField(tiff, TIFFTAG_PHOTOMETRIC, &k.photometric);
  if (k.width < 1 || k.height < 1 || k.width > kMaxImageSide || k.height > kMaxImageSide)
    throw PngError(PngFault::damaged,
                   fmt::format("{}: declares {} x {} pixels", file, k.width, k.height));
  if ((k.bits != 8 && k.bits != 16) || k.samples != 1 || k.format != SAMPLEFORMAT_UINT ||
      k.photometric != PHOTOMETRIC_MINISBLACK || TIFFIsTiled(tiff))
    throw PngError(
        PngFault::format,
        fmt::format("{}: has {} bits, {} sample(s) a pixel, format {}, photometric {}{}; "
                    "8 or 16 bits of grey in strips are read",
                    file, k.bits, k.samples, k.format, k.photometric,
                    TIFFIsTiled(tiff) ? ", in tiles" : ""));
  return k;
}

}  // namespace

bool tiff_is_built() {
  return true;
}

PngInfo tiff_header(const std::filesystem::path& path, std::string_view file) {
  const Kind k = kind_of(open_tiff(path, file).get(), file);
  return {static_cast<int>(k.width), static_cast<int>(k.height), 1};
}

void read_tiff(const std::filesystem::path& path, std::string_view file, const PngInfo& expected,
               int white, uint8_t* pixels) {
  const Handle tiff = open_tiff(path, file);
  const Kind k = kind_of(tiff.get(), file);
  const PngInfo info{static_cast<int>(k.width), static_cast<int>(k.height), 1};
  if (!(info == expected))
    throw PngError(PngFault::size,
                   fmt::format("{}: is {} x {} pixels, the screen's images are {} x "
                               "{}; copy it again or leave the well out of the table",
                               file, k.width, k.height, expected.width, expected.height));
  const size_t width = k.width, line = static_cast<size_t>(TIFFScanlineSize(tiff.get()));
  if (line != width * (k.bits / 8))
    throw PngError(PngFault::damaged, fmt::format("{}: a line has {} bytes", file, line));
  std::vector<uint16_t> row(width);
  for (uint32_t y = 0; y < k.height; ++y, pixels += width) {
    if (TIFFReadScanline(tiff.get(), row.data(), y, 0) != 1)
      throw PngError(PngFault::damaged,
                     fmt::format("{}: line {} of {} cannot be read ({}); copy it again", file,
                                 y + 1, k.height, last_error));
    if (k.bits == 8)
      std::copy_n(reinterpret_cast<const uint8_t*>(row.data()), width, pixels);
    else
      for (size_t x = 0; x < width; ++x)
        pixels[x] = static_cast<uint8_t>(std::min(255, (row[x] * 255 + white / 2) / white));
  }
}

#else

bool tiff_is_built() {
  return false;
}

PngInfo tiff_header(const std::filesystem::path& /*path*/, std::string_view file) {
  throw PngError(PngFault::format,
                 fmt::format("{}: is a TIFF, and this program was built without libtiff; install "
                             "libtiff-dev and build again, or use the published PNG images",
                             file));
}

void read_tiff(const std::filesystem::path& path, std::string_view file, const PngInfo&, int,
               uint8_t*) {
  tiff_header(path, file);
}

#endif

}  // namespace mono
