// TIFF, one grey image of 8 or 16 bits a pixel in strips: what the raw tree of CPG0004 consists of.
//
// The reader is libtiff's, for which building is optional. TIFF has no checksums: a flipped bit in
// an uncompressed image is not found, unlike in a PNG.
//   16 bits become 8:  v = min(255, round(255 count / white)),  white = kTiffWhite by default,
// one rule for all plates and channels, so that differences in brightness stay. The range of the
// camera is 65535, but little is above a quarter of it; 64 counts a level keep more levels for what
// there is. (The published PNGs were corrected for illumination before: their values differ.)
#pragma once

#include "train/data/png.h"

#include <filesystem>
#include <string_view>

namespace mono {

inline constexpr int kTiffWhite = 16384;

bool tiff_is_built();

// Size of the image; throws PngError (its faults serve all image files).
PngInfo tiff_header(const std::filesystem::path& path, std::string_view file);

// Reads an image of the expected size (one channel) into pixels[expected.bytes()].
void read_tiff(const std::filesystem::path& path, std::string_view file, const PngInfo& expected,
               int white, uint8_t* pixels);

}  // namespace mono
