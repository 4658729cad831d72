#include "train/data/normalisation.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

#include <algorithm>
#include <map>

namespace mono {
namespace {

bool by_plate(Normalisation kind) {
  return kind == Normalisation::control_plate || kind == Normalisation::all_plate;
}

bool of_controls(Normalisation kind) {
  return kind == Normalisation::control_plate || kind == Normalisation::control_experiment;
}

// Sums of one group and channel.
struct Sums {
  Histogram pixels;
  int images = 0;
  double means = 0, stds = 0;  // of the images
  void add(const Histogram& image) {
    const MeanStd own = image.mean_std();
    pixels.add(image);
    means += own.mean;
    stds += own.std;
    ++images;
  }
  MeanStd mean_std(StdBy by) const {
    return by == StdBy::pooled ? pixels.mean_std() : MeanStd{means / images, stds / images};
  }
};

// Numbers the groups of all complete sites of the split's experiments.
void number_groups(const Dataset& dataset, const Split& split, NormalisationStats& stats) {
  std::vector<uint8_t> used(dataset.experiments.size());
  for (const auto* part : {&split.train, &split.test})
    for (const int i : *part)
      used[static_cast<size_t>(dataset.sites[static_cast<size_t>(i)].experiment)] = 1;
  std::map<std::pair<int, int>, int> group_at;
  stats.group_of.assign(dataset.sites.size(), -1);
  for (size_t i = 0; i < dataset.sites.size(); ++i) {
    const Site& site = dataset.sites[i];
    if (!dataset.complete(static_cast<int>(i)) || !used[static_cast<size_t>(site.experiment)])
      continue;
    std::pair<int, int> key{0, 0};
    std::string name = "all";
    if (stats.kind != Normalisation::all) {
      key = {site.experiment, by_plate(stats.kind) ? site.plate : 0};
      name = dataset.experiments[static_cast<size_t>(site.experiment)];
      if (by_plate(stats.kind)) name += fmt::format(" plate {}", site.plate);
    }
    const auto [it, fresh] = group_at.emplace(key, static_cast<int>(stats.groups.size()));
    if (fresh) stats.groups.push_back(name);
    stats.group_of[i] = it->second;
  }
}

std::vector<int> sites_to_read(const Dataset& dataset, const Split& split,
                               const NormalisationStats& stats) {
  if (stats.kind == Normalisation::all) return split.train;
  std::vector<int> sites;
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    if (stats.group_of[i] >= 0 && (!of_controls(stats.kind) || dataset.sites[i].is_control()))
      sites.push_back(static_cast<int>(i));
  return sites;
}

}  // namespace

NormalisationStats normalisation_statistics(const Dataset& dataset, const ImageSource& images,
                                            const std::vector<int>& channels, const Split& split,
                                            Normalisation kind, StdBy std_by) {
  NormalisationStats stats;
  stats.kind = kind;
  stats.channels = dataset.channels_on_disk;
  if (kind == Normalisation::self) return stats;
  number_groups(dataset, split, stats);
  const std::vector<int> sites = sites_to_read(dataset, split, stats);
  const size_t n = channels.size();
  const size_t plane = static_cast<size_t>(images.height()) * static_cast<size_t>(images.width());

  std::vector<Sums> sums(stats.groups.size() * n);
  constexpr size_t kChunk = 64;  // sites whose histograms are in memory at a time
  std::vector<Histogram> histograms(kChunk * n);
  for (size_t begin = 0; begin < sites.size(); begin += kChunk) {
    const size_t count = std::min(kChunk, sites.size() - begin);
    parallel_for(static_cast<int64_t>(count), [&](int64_t unit, int) {
      const auto u = static_cast<size_t>(unit);
      std::vector<uint8_t> planes(plane * n);
      images.read(sites[begin + u], channels, planes.data());
      for (size_t c = 0; c < n; ++c) {
        histograms[u * n + c] = {};
        histograms[u * n + c].add(std::span(planes).subspan(c * plane, plane));
      }
    });
    for (size_t u = 0; u < count; ++u) {
      const int group = stats.group_of[static_cast<size_t>(sites[begin + u])];
      MONO_CHECK(group >= 0, "site {} is not complete", sites[begin + u]);
      for (size_t c = 0; c < n; ++c)
        sums[static_cast<size_t>(group) * n + c].add(histograms[u * n + c]);
    }
  }

  stats.values.resize(stats.groups.size() * static_cast<size_t>(stats.channels));
  for (size_t i = 0; i < sums.size(); ++i) {
    const std::string& group = stats.groups[i / n];
    const int channel = channels[i % n];
    if (sums[i].images == 0)
      fail(ErrorKind::data,
           "{}: {} has no {} image with all channels, which this normalisation needs; use "
           "data.normalisation = \"self\" or \"all-experiment\"",
           dataset.root.string(), group, of_controls(kind) ? "control" : "training");
    const MeanStd value = sums[i].mean_std(std_by);
    if (!(value.std > 0))
      fail(ErrorKind::data,
           "{}: channel {} is constant ({}) in all images of {}, so it cannot be normalised; leave "
           "it out (data.channels) or correct the images",
           dataset.root.string(), channel + 1, value.mean, group);
    stats.values[i / n * static_cast<size_t>(stats.channels) + static_cast<size_t>(channel)] =
        value;
  }
  return stats;
}

}  // namespace mono
