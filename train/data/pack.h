// Fills an image cache (train/data/cache.h) from the image files, or from what is made of them.
#pragma once

#include "train/data/cache.h"
#include "train/data/dataset.h"
#include "train/data/image_source.h"

#include <filesystem>

namespace mono {

struct PackReport {
  int records = 0;
  int incomplete_sites = 0;  // left out: they lack an image
  uint64_t source_bytes = 0, file_bytes = 0;
  double seconds = 0;
};

// Reads every complete site from `images` (the files of `dataset`, resized or not) and writes the
// cache. Any damaged image ends it (Error(data)) and leaves no file behind.
PackReport pack_images(const Dataset& dataset, const ImageSource& images,
                       const std::filesystem::path& file, CacheCodec codec);

// What one site costs in each form, over a sample of sites, on one thread.
struct CodecRate {
  double bytes_per_site = 0;
  double sites_per_second = 0;  // all channels, checksum included
};
struct CodecComparison {
  int sites = 0;
  CodecRate files, raw, delta_zstd;
};
CodecComparison compare_codecs(const Dataset& dataset, const ImageSource& images);

}  // namespace mono
