#include "train/report/screen_figures.h"

#include <algorithm>
#include <climits>
#include <cmath>
#include <limits>
#include <map>
#include <set>
#include <tuple>

#include "kernels/base/error.h"
#include "train/data/well.h"

namespace mono::report {
namespace {

constexpr double kNothing = std::numeric_limits<double>::quiet_NaN();

bool is_negative(const Dataset& dataset, const ImageStats& image) {
  return dataset.sites[static_cast<size_t>(image.site)].well_type == WellType::negative_control;
}

int experiment_of(const Dataset& dataset, const ImageStats& image) {
  return dataset.sites[static_cast<size_t>(image.site)].experiment;
}

// Share of the variance of `values` that lies between groups.
double between_groups(const std::vector<std::vector<double>>& groups) {
  double sum = 0;
  size_t n = 0;
  for (const auto& group : groups)
    for (const double value : group) sum += value, ++n;
  const double grand = sum / static_cast<double>(n);
  double between = 0, total = 0;
  for (const auto& group : groups) {
    double mean = 0;
    for (const double value : group) {
      mean += value;
      total += (value - grand) * (value - grand);
    }
    mean /= static_cast<double>(group.size());
    between += static_cast<double>(group.size()) * (mean - grand) * (mean - grand);
  }
  return total > 0 ? between / total : kNothing;
}

}  // namespace

BrightnessShift brightness_shift(const Dataset& dataset, const DatasetStats& stats) {
  BrightnessShift result;
  result.channels = dataset.channels_on_disk;
  const auto channels = static_cast<size_t>(result.channels);
  std::set<int> all, with_controls;
  for (const ImageStats& image : stats.images) {
    all.insert(experiment_of(dataset, image));
    if (is_negative(dataset, image)) with_controls.insert(experiment_of(dataset, image));
  }
  result.of_controls = !all.empty() && with_controls.size() == all.size();
  result.experiments.assign(all.begin(), all.end());
  const size_t experiments = all.size();
  // [channel][experiment] -> image means
  std::vector<std::vector<std::vector<double>>> values(
      channels, std::vector<std::vector<double>>(experiments));
  for (const ImageStats& image : stats.images) {
    if (result.of_controls && !is_negative(dataset, image)) continue;
    const auto e = std::lower_bound(result.experiments.begin(), result.experiments.end(),
                                    experiment_of(dataset, image)) -
                   result.experiments.begin();
    values[static_cast<size_t>(image.channel)][static_cast<size_t>(e)].push_back(image.value.mean);
  }
  result.mean.assign(experiments * channels, kNothing);
  result.shift.assign(experiments * channels, kNothing);
  size_t images = 0;
  bool pairs = false;
  for (size_t e = 0; e < experiments; ++e) {
    size_t most = 0;
    for (size_t c = 0; c < channels; ++c) {
      const std::vector<double>& own = values[c][e];
      most = std::max(most, own.size());
      double sum = 0;
      for (const double value : own) sum += value;
      if (!own.empty()) result.mean[e * channels + c] = sum / static_cast<double>(own.size());
    }
    result.images.push_back(static_cast<int>(most));
    images += most;
    pairs = pairs || most > 1;
  }
  for (size_t c = 0; c < channels; ++c) {
    double log_sum = 0;
    int count = 0;
    for (size_t e = 0; e < experiments; ++e)
      if (const double mean = result.mean[e * channels + c]; mean > 0)
        log_sum += std::log2(mean), ++count;
    for (size_t e = 0; e < experiments; ++e)
      if (const double mean = result.mean[e * channels + c]; mean > 0)
        result.shift[e * channels + c] = std::log2(mean) - log_sum / count;
  }
  if (!pairs || experiments < 2) return result;
  for (size_t c = 0; c < channels; ++c) {
    std::erase_if(values[c], [](const std::vector<double>& group) { return group.empty(); });
    result.between.push_back(between_groups(values[c]));
  }
  result.between_by_chance = static_cast<double>(experiments - 1) / static_cast<double>(images - 1);
  return result;
}

std::vector<WellFigure> well_figures(const Dataset& dataset, const DatasetStats& stats) {
  std::map<std::tuple<int, int, int>, std::pair<double, int>> plates;  // sum and number of means
  for (const ImageStats& image : stats.images) {
    const Site& site = dataset.sites[static_cast<size_t>(image.site)];
    auto& [sum, count] = plates[{site.experiment, site.plate, image.channel}];
    sum += image.value.mean;
    ++count;
  }
  struct Sums {
    std::set<int> sites;
    double shift = 0;
    int count = 0;
  };
  std::map<std::string, Sums> wells;
  for (const ImageStats& image : stats.images) {
    const Site& site = dataset.sites[static_cast<size_t>(image.site)];
    const auto& [sum, count] = plates.at({site.experiment, site.plate, image.channel});
    Sums& own = wells[site.well];
    own.sites.insert(image.site);
    own.shift += std::log2(image.value.mean * count / sum);
    ++own.count;
  }
  std::vector<WellFigure> figures;
  for (const auto& [well, sums] : wells) {
    const double shift = sums.shift / sums.count;
    figures.push_back(
        {well, static_cast<int>(sums.sites.size()), std::isfinite(shift) ? shift : kNothing});
  }
  return figures;
}

HeatMap plate_map(const std::vector<WellFigure>& wells, bool shift) {
  HeatMap map{.title = shift ? "Brightness by place" : "Sites by place"};
  map.unit = shift ? "log2" : "sites with all images";
  map.diverging = shift;
  std::vector<Well> places;
  Well first{INT_MAX, INT_MAX}, last{-1, -1};
  for (const WellFigure& figure : wells) {
    const Well place = parse_well(figure.well).value();
    first = {std::min(first.row, place.row), std::min(first.column, place.column)};
    last = {std::max(last.row, place.row), std::max(last.column, place.column)};
    places.push_back(place);
  }
  for (int row = first.row; row <= last.row; ++row) map.rows.push_back(row_name(row));
  for (int column = first.column; column <= last.column; ++column)
    map.columns.push_back(fmt::format("{:02}", column + 1));
  map.values.assign(map.rows.size() * map.columns.size(), kNothing);
  for (size_t i = 0; i < wells.size(); ++i)
    map.values[static_cast<size_t>(places[i].row - first.row) * map.columns.size() +
               static_cast<size_t>(places[i].column - first.column)] =
        shift ? wells[i].shift : wells[i].images;
  return map;
}

std::optional<NeighbourShare> same_experiment_neighbours(FeatureView features,
                                                         std::span<const int> experiment,
                                                         std::span<const int> well,
                                                         int most_neighbours) {
  const auto rows = static_cast<size_t>(features.rows);
  MONO_CHECK(experiment.size() == rows && well.size() == rows, "{} rows, {} experiments, {} wells",
             rows, experiment.size(), well.size());
  std::map<int, int> rows_of_well, rows_of_experiment;
  std::map<int, std::set<int>> wells_of_experiment;
  for (size_t i = 0; i < rows; ++i) {
    ++rows_of_well[well[i]];
    ++rows_of_experiment[experiment[i]];
    wells_of_experiment[experiment[i]].insert(well[i]);
  }
  const bool repeated = std::any_of(wells_of_experiment.begin(), wells_of_experiment.end(),
                                    [](const auto& e) { return e.second.size() > 1; });
  if (wells_of_experiment.size() < 2 || !repeated) return std::nullopt;
  NeighbourShare result;
  result.rows = features.rows;
  int k = most_neighbours;
  for (size_t i = 0; i < rows; ++i) {
    const int own = rows_of_well.at(well[i]), others = features.rows - own;
    const int same = rows_of_experiment.at(experiment[i]) - own;
    k = std::min(k, same > 0 ? same : others);
    result.chance += static_cast<double>(same) / others;
  }
  result.chance /= features.rows;
  result.k = k;
  const Neighbours near = nearest(features, features, result.k, well, well);
  int64_t same = 0;
  for (size_t i = 0; i < near.index.size(); ++i)
    same += experiment[static_cast<size_t>(near.index[i])] ==
            experiment[i / static_cast<size_t>(result.k)];
  result.share = static_cast<double>(same) / static_cast<double>(near.index.size());
  return result;
}

}  // namespace mono::report
