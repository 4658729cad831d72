#include "train/data/intensity_histogram.h"

#include "kernels/base/thread_pool.h"
#include "train/data/image_stats.h"

#include <cmath>
#include <vector>

namespace mono {
namespace {

// The bin of an 8-bit count: floor(2 sqrt(v)), exactly.
size_t bin_of(size_t value) {
  size_t bin = 0;
  while ((bin + 1) * (bin + 1) <= 4 * value) ++bin;
  return bin;
}

}  // namespace

Features intensity_histograms(const ImageSource& images, std::span<const int> sites,
                              std::span<const int> channels) {
  const size_t plane = static_cast<size_t>(images.height()) * static_cast<size_t>(images.width());
  Features features(static_cast<int>(sites.size()),
                    static_cast<int>(channels.size()) * kIntensityBins);
  parallel_for(features.rows, [&](int64_t row, int) {
    std::vector<uint8_t> planes(channels.size() * plane);
    images.read(sites[static_cast<size_t>(row)], channels, planes.data());
    const std::span<float> out = features.row(static_cast<int>(row));
    for (size_t c = 0; c < channels.size(); ++c) {
      Histogram histogram;
      histogram.add(std::span<const uint8_t>(planes).subspan(c * plane, plane));
      std::array<uint64_t, kIntensityBins> bins{};
      for (size_t value = 0; value < 256; ++value) bins[bin_of(value)] += histogram.count[value];
      for (size_t b = 0; b < bins.size(); ++b)
        out[c * bins.size() + b] = static_cast<float>(
            std::sqrt(static_cast<double>(bins[b]) / static_cast<double>(plane)));
    }
  });
  return features;
}

}  // namespace mono
