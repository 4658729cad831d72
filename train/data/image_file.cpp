#include "train/data/image_file.h"

#include <fstream>
#include <vector>

#include "train/data/tiff.h"

namespace mono {
namespace {

bool is_tiff(const std::filesystem::path& path) {
  const auto extension = path.extension();
  return extension == ".tif" || extension == ".tiff";
}

}  // namespace

PngInfo image_header(const std::filesystem::path& path, std::string_view file) {
  if (is_tiff(path)) return tiff_header(path, file);
  std::ifstream in(path, std::ios::binary);
  std::vector<uint8_t> head(64);
  in.read(reinterpret_cast<char*>(head.data()), static_cast<std::streamsize>(head.size()));
  head.resize(static_cast<size_t>(in.gcount()));
  return png_header(head, file);
}

void read_image(const std::filesystem::path& path, std::string_view file, const PngInfo& expected,
                uint8_t* pixels) {
  if (is_tiff(path)) return read_tiff(path, file, expected, pixels);
  decode_png(read_png_file(path, file), file, expected, pixels);
}

}  // namespace mono
