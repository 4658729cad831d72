#include "train/data/image_file.h"

#include <fstream>
#include <vector>

#include "train/data/tiff.h"

namespace mono {
namespace {

// ".png", in small letters.
std::string extension_of(std::string_view name) {
  const size_t dot = name.rfind('.');
  std::string extension(dot == name.npos ? "" : name.substr(dot));
  for (char& c : extension)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return extension;
}

bool is_tiff(const std::filesystem::path& path) {
  const std::string extension = extension_of(path.native());
  return extension == ".tif" || extension == ".tiff";
}

}  // namespace

bool is_image_file(std::string_view name) {
  const std::string extension = extension_of(name);
  return extension == ".png" || extension == ".tif" || extension == ".tiff";
}

PngInfo image_header(const std::filesystem::path& path, std::string_view file) {
  if (is_tiff(path)) return tiff_header(path, file);
  std::ifstream in(path, std::ios::binary);
  std::vector<uint8_t> head(64);
  in.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(in.gcount()));
  return png_header(head, file);
}

void read_image(const std::filesystem::path& path, std::string_view file, const PngInfo& expected,
                int tiff_white, uint8_t* pixels) {
  if (is_tiff(path)) return read_tiff(path, file, expected, tiff_white, pixels);
  decode_png(read_png_file(path, file), file, expected, pixels);
}

}  // namespace mono
