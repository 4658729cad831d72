#include "kernels/base/error.h"
#include "train/data/image_file.h"
#include "train/data/image_source.h"

namespace mono {

FileImages::FileImages(const Dataset& dataset) : dataset_(&dataset) {
  if (dataset.image_size < 1)
    fail(
        ErrorKind::data,
        "{}: has a table but no readable image; expected are {}: download or link the images there",
        dataset.root.string(), expected_files(dataset));
}

void FileImages::read(int site, std::span<const int> channels, uint8_t* planes) const {
  const Site& s = dataset_->sites[static_cast<size_t>(site)];
  const int size = dataset_->image_size;
  const size_t plane = static_cast<size_t>(size) * static_cast<size_t>(size);
  for (const int c : channels)
    MONO_CHECK(c >= 0 && c < dataset_->channels_on_disk, "channel {} of {}", c,
               dataset_->channels_on_disk);
  if (!dataset_->rgb) {
    for (const int c : channels) {
      const std::filesystem::path path = dataset_->path_of(s, c);
      read_image(path, path.native(), {size, size, 1}, dataset_->tiff_white, planes);
      planes += plane;
    }
    return;
  }
  const std::filesystem::path path = dataset_->path_of(s, 0);  // one RGB file
  std::vector<uint8_t> pixels(plane * 3);
  read_image(path, path.native(), {size, size, 3}, dataset_->tiff_white, pixels.data());
  for (const int c : channels) {
    for (size_t i = 0; i < plane; ++i) planes[i] = pixels[i * 3 + static_cast<size_t>(c)];
    planes += plane;
  }
}

}  // namespace mono
