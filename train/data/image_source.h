// Where pixels come from: the PNG tree, or the packed cache of `data pack`. Both give the same
// bytes. Reads are thread-safe: any number of loader threads may share one source.
#pragma once

#include "train/data/dataset.h"

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>

namespace mono {

class ImageSource {
 public:
  virtual ~ImageSource() = default;
  // Reads the given channels (from 0, in this order) of dataset.sites[site] into
  // planes (channels.size(), H, W), uint8, contiguous. Throws Error(data) naming file and reason.
  virtual void read(int site, std::span<const int> channels, uint8_t* planes) const = 0;
  virtual int height() const = 0;
  virtual int width() const = 0;
};

// Decodes the PNG files at each read. Keeps a reference to `dataset`, which must outlive it.
class PngImages final : public ImageSource {
 public:
  explicit PngImages(const Dataset& dataset);
  void read(int site, std::span<const int> channels, uint8_t* planes) const override;
  int height() const override { return dataset_->image_size; }
  int width() const override { return dataset_->image_size; }

 private:
  const Dataset* dataset_;
};

// Reads the cache file that `data pack` wrote (train/data/cache.h), checking the record's checksum
// at each read. From then on the cache is the screen's images: the constructor sets image_size,
// channels_on_disk and every site's channels_present in `dataset`, so that the PNG tree may be
// gone. Throws Error(data) if the cache is damaged, belongs to another screen, or, as far as the
// PNG tree is still there, differs from it (a few sites are compared).
class CachedImages final : public ImageSource {
 public:
  CachedImages(Dataset& dataset, const std::filesystem::path& file);
  ~CachedImages() override;
  void read(int site, std::span<const int> channels, uint8_t* planes) const override;
  int height() const override;
  int width() const override;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// CachedImages if `cache` is not empty, else PngImages. Call it before make_split.
std::unique_ptr<ImageSource> open_images(Dataset& dataset, const std::filesystem::path& cache = {});

}  // namespace mono
