#include "train/data/normalisation.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

#include <algorithm>
#include <array>
#include <cmath>
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
  double means = 0, stds = 0;                  // of the images
  double floored_means = 0, floored_stds = 0;  // of each, rounded down
  void add(const Histogram& image) {
    const MeanStd own = image.mean_std();
    pixels.add(image);
    means += own.mean;
    stds += own.std;
    floored_means += std::floor(own.mean);
    floored_stds += std::floor(own.std);
    ++images;
  }
  MeanStd mean_std(StdBy by) const {
    return by == StdBy::pooled ? pixels.mean_std() : MeanStd{means / images, stds / images};
  }
};

// Numbers the groups of all complete sites of the split's experiments.
void number_groups(const Dataset& dataset, const Split& split, NormalisationStats& stats) {
  std::vector<uint8_t> used(dataset.experiments.size());
  for (const auto* part : {&split.train, &split.validation, &split.test, &split.bank})
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
      if (by_plate(stats.kind)) name += " plate " + dataset.plate_name(site.experiment, site.plate);
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

// [group][channel of `channels`] from the images of `sites`.
std::vector<Sums> read_sums(const ImageSource& images, const std::vector<int>& channels,
                            const std::vector<int>& sites, const NormalisationStats& stats) {
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
  return sums;
}

[[noreturn]] void constant_channel(const Dataset& dataset, int channel, double mean,
                                   const std::string& group) {
  fail(ErrorKind::data,
       "{}: channel {} is constant ({}) in all images of {}, so it cannot be normalised; leave "
       "it out (data.channels) or correct the images",
       dataset.root.string(), channel + 1, mean, group);
}

// CDCL's constants for RXRX1-HUVEC and CPG0004, counts.
constexpr std::array<MeanStd, 6> kRxrxConstants = {{{5.2322, 5.6944},
                                                    {18.4262, 12.0360},
                                                    {7.7383, 2.6662},
                                                    {10.0391, 6.2357},
                                                    {2.8611, 2.4240},
                                                    {7.6984, 2.7122}}};
constexpr std::array<MeanStd, 5> kCpgConstants = {
    {{14.615, 28.804}, {28.874, 31.398}, {32.618, 32.070}, {36.410, 32.359}, {22.278, 25.822}}};

void fill_constants(const Dataset& dataset, NormalisationStats& stats) {
  const bool cpg = is_cpg0004(dataset.form);
  const std::span<const MeanStd> constants =
      cpg ? std::span<const MeanStd>(kCpgConstants) : std::span<const MeanStd>(kRxrxConstants);
  if (dataset.form == TableForm::described)
    fail(ErrorKind::usage,
         "{}: the published constants are those of RxRx1 and CPG0004, not of a screen of your own; "
         "normalise by plate",
         dataset.root.string());
  if (static_cast<size_t>(stats.channels) != constants.size())
    fail(ErrorKind::usage,
         "{}: has {} channels on disk, the published constants are for {}; normalise by plate",
         dataset.root.string(), stats.channels, constants.size());
  stats.groups = {"constants"};
  stats.values.assign(constants.begin(), constants.end());
  stats.group_of.resize(dataset.sites.size());
  for (size_t i = 0; i < stats.group_of.size(); ++i)
    stats.group_of[i] = dataset.complete(static_cast<int>(i)) ? 0 : -1;
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
  const size_t n = channels.size();
  const std::vector<Sums> sums =
      read_sums(images, channels, sites_to_read(dataset, split, stats), stats);
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
    if (!(value.std > 0)) constant_channel(dataset, channel, value.mean, group);
    stats.values[i / n * static_cast<size_t>(stats.channels) + static_cast<size_t>(channel)] =
        value;
  }
  return stats;
}

const char* name_of(PlateStatistics of) {
  switch (of) {
    case PlateStatistics::negative_controls:
      return "negative-controls";
    case PlateStatistics::all_images:
      return "all-images";
    case PlateStatistics::constants:
      return "constants";
  }
  return "?";
}

PlateStatistics parse_plate_statistics(std::string_view text) {
  for (const PlateStatistics of : {PlateStatistics::negative_controls, PlateStatistics::all_images,
                                   PlateStatistics::constants})
    if (text == name_of(of)) return of;
  fail(ErrorKind::usage,
       "plate statistics '{}' are unknown; expected is negative-controls, all-images or constants",
       text);
}

PlateStatistics plate_statistics_of(TableForm form) {
  return is_cpg0004(form) ? PlateStatistics::all_images : PlateStatistics::negative_controls;
}

NormalisationStats plate_normalisation(const Dataset& dataset, const ImageSource& images,
                                       const std::vector<int>& channels, const Split& split,
                                       const PlateNormalisation& options) {
  NormalisationStats stats;
  stats.channels = dataset.channels_on_disk;
  stats.kind = Normalisation::all;
  if (options.of == PlateStatistics::constants) {
    fill_constants(dataset, stats);
    return stats;
  }
  const bool controls = options.of == PlateStatistics::negative_controls;
  stats.kind = controls ? Normalisation::control_plate : Normalisation::all_plate;
  number_groups(dataset, split, stats);
  std::vector<int> sites;
  for (size_t i = 0; i < dataset.sites.size(); ++i)
    if (stats.group_of[i] >= 0 &&
        (!controls || dataset.sites[i].well_type == WellType::negative_control))
      sites.push_back(static_cast<int>(i));
  const size_t n = channels.size();
  // Which plates lack controls is known before any image is read.
  std::vector<int> images_of(stats.groups.size());
  for (const int site : sites)
    ++images_of[static_cast<size_t>(stats.group_of[static_cast<size_t>(site)])];
  for (size_t g = 0; g < images_of.size(); ++g)
    if (images_of[g] == 0)
      fail(ErrorKind::data,
           "{}: {} has no image of a negative control with all channels, by which its images would "
           "be normalised; get the control's images, leave the plate out, or normalise by "
           "all-images",
           dataset.root.string(), stats.groups[g]);
  const std::vector<Sums> sums = read_sums(images, channels, sites, stats);
  stats.values.resize(stats.groups.size() * static_cast<size_t>(stats.channels));
  for (size_t i = 0; i < sums.size(); ++i) {
    const Sums& s = sums[i];
    const MeanStd value = options.floor_stats
                              ? MeanStd{s.floored_means / s.images, s.floored_stds / s.images}
                              : MeanStd{s.means / s.images, s.stds / s.images};
    if (!(value.std > 0))
      constant_channel(dataset, channels[i % n], value.mean, stats.groups[i / n]);
    stats.values[i / n * static_cast<size_t>(stats.channels) +
                 static_cast<size_t>(channels[i % n])] = value;
  }
  return stats;
}

}  // namespace mono
