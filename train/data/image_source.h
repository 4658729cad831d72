// Where pixels come from: the tree of image files, or the packed cache of `data pack`, both with
// the same bytes; and either of them at a smaller size. Reads are thread-safe: any number of loader
// threads may share one source.
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

// Decodes the image files at each read. Keeps a reference to `dataset`, which must outlive it.
class FileImages final : public ImageSource {
 public:
  explicit FileImages(const Dataset& dataset);
  void read(int site, std::span<const int> channels, uint8_t* planes) const override;
  int height() const override { return dataset_->image_size; }
  int width() const override { return dataset_->image_size; }

 private:
  const Dataset* dataset_;
};

// Images of `side` x `side` pixels, made of another source's at each read by resize_linear()
// (train/data/resize.h), in whole counts. For RxRx1 (512 to 256) that is what CDCL does. For
// CPG0004 (1080 to 256) CDCL resizes in float32; here the result is stored in 8 bits like every
// image, which puts it at most 0.75 counts away, 0.12 too low on average, alike in all images.
class ResizedImages final : public ImageSource {
 public:
  static constexpr int kMaxSide = 16384;
  ResizedImages(std::unique_ptr<ImageSource> source, int side);
  void read(int site, std::span<const int> channels, uint8_t* planes) const override;
  int height() const override { return side_; }
  int width() const override { return side_; }

 private:
  std::unique_ptr<ImageSource> source_;
  int side_;
};

// Reads the cache file that `data pack` wrote (train/data/cache.h), checking the record's checksum
// at each read. From then on the cache is the screen's images: the constructor sets image_size,
// channels_on_disk and every site's channels_present in `dataset`, so that the PNG tree may be
// gone. A cache of smaller images (`data pack --resize`) is one of the screen at that size. Throws
// Error(data) if the cache is damaged, belongs to another screen, or, as far as the image files are
// still there, differs from them, resized if need be (a few sites are compared).
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

// CachedImages if `cache` is not empty, else FileImages; of `side` pixels where that is not 0: then
// resized, unless they have that size already. Call it before make_split. Throws Error(usage) where
// the images are smaller than `side`.
std::unique_ptr<ImageSource> open_images(Dataset& dataset, const std::filesystem::path& cache = {},
                                         int side = 0);

}  // namespace mono
