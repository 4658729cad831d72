// One image file of a screen, whatever its kind: PNG, or by its name (.tif, .tiff) TIFF.
#pragma once

#include "train/data/png.h"

#include <filesystem>
#include <string_view>

namespace mono {

// True for a name that ends with .png, .tif or .tiff, in letters of either case.
bool is_image_file(std::string_view name);

// Size of the image, from the beginning of the file. Throws PngError; `file` is the name that
// messages begin with.
PngInfo image_header(const std::filesystem::path& path, std::string_view file);

// Checks and decodes the whole file, which must have the expected size, into
// pixels[expected.bytes()], (H,W,C). `tiff_white` is the count of a 16-bit TIFF that becomes 255.
// Throws PngError.
void read_image(const std::filesystem::path& path, std::string_view file, const PngInfo& expected,
                int tiff_white, uint8_t* pixels);

}  // namespace mono
