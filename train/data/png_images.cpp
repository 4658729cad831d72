#include "kernels/base/error.h"
#include "train/data/image_source.h"
#include "train/data/png.h"

namespace mono {

PngImages::PngImages(const Dataset& dataset) : dataset_(&dataset) {
  if (dataset.image_size < 1)
    fail(ErrorKind::data,
         "{}: has a table but no readable image; expected are images/EXP/PlateP/WELL_sS_wC.png, "
         "{{train,test}}/EXP/... or EXP/...: download or link the images there",
         dataset.root.string());
}

void PngImages::read(int site, std::span<const int> channels, uint8_t* planes) const {
  const Site& s = dataset_->sites[static_cast<size_t>(site)];
  const int size = dataset_->image_size;
  const size_t plane = static_cast<size_t>(size) * static_cast<size_t>(size);
  for (const int c : channels)
    MONO_CHECK(c >= 0 && c < dataset_->channels_on_disk, "channel {} of {}", c,
               dataset_->channels_on_disk);
  if (dataset_->channels_on_disk != 3) {
    for (const int c : channels) {
      const std::filesystem::path path = dataset_->path_of(s, c);
      const auto bytes = read_png_file(path, path.native());
      decode_png(bytes, path.native(), {size, size, 1}, planes);
      planes += plane;
    }
    return;
  }
  const std::filesystem::path path = dataset_->path_of(s, 0);  // one RGB file
  const auto bytes = read_png_file(path, path.native());
  std::vector<uint8_t> pixels(plane * 3);
  decode_png(bytes, path.native(), {size, size, 3}, pixels.data());
  for (const int c : channels) {
    for (size_t i = 0; i < plane; ++i) planes[i] = pixels[i * 3 + static_cast<size_t>(c)];
    planes += plane;
  }
}

std::unique_ptr<ImageSource> open_images(Dataset& dataset, const std::filesystem::path& cache) {
  if (cache.empty()) return std::make_unique<PngImages>(dataset);
  return std::make_unique<CachedImages>(dataset, cache);
}

}  // namespace mono
