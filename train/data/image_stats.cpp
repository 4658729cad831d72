#include "train/data/image_stats.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

#include <cmath>
#include <map>
#include <tuple>

namespace mono {

void Histogram::add(std::span<const uint8_t> pixels) {
  // Four tables, so that runs of equal pixels do not wait for each other.
  std::array<std::array<uint32_t, 256>, 4> part{};
  MONO_CHECK(pixels.size() <= UINT32_MAX, "{} pixels", pixels.size());
  size_t i = 0;
  for (; i + 4 <= pixels.size(); i += 4)
    for (size_t k = 0; k < 4; ++k) ++part[k][pixels[i + k]];
  for (; i < pixels.size(); ++i) ++part[0][pixels[i]];
  for (size_t v = 0; v < 256; ++v)
    count[v] += uint64_t{part[0][v]} + part[1][v] + part[2][v] + part[3][v];
}

void Histogram::add(const Histogram& other) {
  for (size_t v = 0; v < 256; ++v) count[v] += other.count[v];
}

MeanStd Histogram::mean_std() const {
  uint64_t n = 0, sum = 0;
  for (size_t v = 0; v < 256; ++v) {
    n += count[v];
    sum += v * count[v];
  }
  if (n == 0) return {};
  const double mean = static_cast<double>(sum) / static_cast<double>(n);
  double m2 = 0;
  for (size_t v = 0; v < 256; ++v) {
    const double d = static_cast<double>(v) - mean;
    m2 += d * d * static_cast<double>(count[v]);
  }
  return {mean, n > 1 ? std::sqrt(m2 / static_cast<double>(n - 1)) : 0.0};
}

DatasetStats image_statistics(const Dataset& dataset, const ImageSource& images) {
  std::vector<int> sites;
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    if (dataset.complete(static_cast<int>(i))) sites.push_back(static_cast<int>(i));
  const auto channels = static_cast<size_t>(dataset.channels_on_disk);
  const size_t plane = static_cast<size_t>(images.height()) * static_cast<size_t>(images.width());

  struct Plate {
    Histogram pixels;
    int images = 0;
    double sum_of_stds = 0;
  };
  std::map<std::tuple<int, int, int>, Plate> plates;
  DatasetStats result;
  constexpr size_t kChunk = 64;  // sites whose histograms are in memory at a time
  std::vector<Histogram> histograms(kChunk * channels);
  std::vector<std::string> faults(kChunk * channels);
  for (size_t begin = 0; begin < sites.size(); begin += kChunk) {
    const size_t count = std::min(kChunk, sites.size() - begin);
    parallel_for(static_cast<int64_t>(count * channels), [&](int64_t unit, int) {
      const auto u = static_cast<size_t>(unit);
      const int channel = static_cast<int>(u % channels);
      std::vector<uint8_t> pixels(plane);
      histograms[u] = {};
      faults[u].clear();
      try {
        images.read(sites[begin + u / channels], std::span(&channel, 1), pixels.data());
        histograms[u].add(pixels);
      } catch (const Error& e) {
        if (e.kind() != ErrorKind::data) throw;
        faults[u] = e.what();
      }
    });
    for (size_t u = 0; u < count * channels; ++u) {
      const int index = sites[begin + u / channels], channel = static_cast<int>(u % channels);
      if (!faults[u].empty()) {
        result.warnings.push_back({index, channel, faults[u]});
        continue;
      }
      const Site& site = dataset.sites[static_cast<size_t>(index)];
      const MeanStd value = histograms[u].mean_std();
      result.images.push_back({index, channel, value});
      Plate& plate = plates[{site.experiment, site.plate, channel}];
      plate.pixels.add(histograms[u]);
      plate.sum_of_stds += value.std;
      ++plate.images;
    }
  }
  for (const auto& [key, plate] : plates) {
    const auto& [experiment, number, channel] = key;
    result.plates.push_back({experiment, number, channel, plate.images, plate.pixels.mean_std(),
                             plate.sum_of_stds / plate.images});
  }
  return result;
}

}  // namespace mono
