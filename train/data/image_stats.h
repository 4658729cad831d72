// Mean and standard deviation of images, exactly: an 8-bit image is its histogram, and histograms
// of images add without rounding, in any order.
#pragma once

#include "train/data/dataset.h"
#include "train/data/image_source.h"

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace mono {

struct MeanStd {
  double mean = 0, std = 0;  // counts 0..255; std is the unbiased one
};

struct Histogram {
  std::array<uint64_t, 256> count{};
  void add(std::span<const uint8_t> pixels);
  void add(const Histogram& other);
  MeanStd mean_std() const;  // {0, 0} without pixels; two passes over the bins, in f64
};

struct ImageStats {
  int site = 0;     // index into Dataset::sites
  int channel = 0;  // from 0
  MeanStd value;
};

struct GroupStats {  // of the images of one plate and channel
  int experiment = 0, plate = 0, channel = 0;
  int images = 0;
  MeanStd pooled;
  double mean_of_stds = 0;
};

struct ImageWarning {  // an image that could not be read and is left out
  int site = 0, channel = 0;
  std::string message;
};

struct DatasetStats {
  std::vector<ImageStats> images;      // of complete sites, by site and channel
  std::vector<GroupStats> plates;      // by experiment, plate, channel
  std::vector<ImageWarning> warnings;  // by site and channel
};

// Reads every image of every complete site, in parallel.
DatasetStats image_statistics(const Dataset& dataset, const ImageSource& images);

}  // namespace mono
