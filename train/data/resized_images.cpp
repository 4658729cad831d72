#include "kernels/base/error.h"
#include "train/data/image_source.h"
#include "train/data/resize.h"

namespace mono {

ResizedImages::ResizedImages(std::unique_ptr<ImageSource> source, int side)
    : source_(std::move(source)), side_(side) {
  if (side < 1 || side > kMaxSide)
    fail(ErrorKind::usage, "images cannot be resized to {} pixels a side; ask for 1 to {}", side,
         kMaxSide);
}

void ResizedImages::read(int site, std::span<const int> channels, uint8_t* planes) const {
  const int h = source_->height(), w = source_->width();
  const size_t from = static_cast<size_t>(h) * static_cast<size_t>(w),
               to = static_cast<size_t>(side_) * static_cast<size_t>(side_);
  std::vector<uint8_t> pixels(channels.size() * from);
  source_->read(site, channels, pixels.data());
  for (size_t c = 0; c < channels.size(); ++c)
    resize_linear(pixels.data() + c * from, h, w, planes + c * to, side_, side_);
}

std::unique_ptr<ImageSource> open_images(Dataset& dataset, const std::filesystem::path& cache,
                                         int side) {
  std::unique_ptr<ImageSource> images;
  if (cache.empty())
    images = std::make_unique<FileImages>(dataset);
  else
    images = std::make_unique<CachedImages>(dataset, cache);
  if (side == 0 || (images->height() == side && images->width() == side)) return images;
  if (images->height() < side)
    fail(ErrorKind::usage, "{}: images of {} pixels a side are asked for, these have {}; {}",
         cache.empty() ? dataset.root.string() : cache.string(), side, images->height(),
         cache.empty() ? "ask for fewer" : "make the cache with a larger --resize, or without");
  return std::make_unique<ResizedImages>(std::move(images), side);
}

}  // namespace mono
