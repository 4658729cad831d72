// What `data report` says in numbers: how far experiments differ in brightness, and whether an
// embedding keeps the images of an experiment together.
#pragma once

#include <optional>
#include <span>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/data/dataset.h"
#include "train/data/image_stats.h"
#include "train/report/chart.h"

namespace mono::report {

// Brightness of the images of each experiment and channel.
//   shift = log2(mean / geometric mean of the experiments' means),   1: twice as bright
// By negative controls where every experiment has some, since they are the same everywhere; else by
// all images, which then also differ by treatment and cell type.
struct BrightnessShift {
  bool of_controls = false;
  int channels = 0;
  std::vector<int> experiments;  // those with images, ascending
  std::vector<int> images;       // of each, behind its means
  std::vector<double> mean;      // (experiments, channels): mean over images, counts 0..255
  std::vector<double> shift;     // likewise; NaN where a mean is 0
  // [channel]: the share of the variance of image means that lies between experiments (eta^2), and
  // what it would be by chance, (E - 1) / (N - 1). Empty where no experiment has two images, or
  // there is only one.
  std::vector<double> between;
  double between_by_chance = 0;
};
BrightnessShift brightness_shift(const Dataset& dataset, const DatasetStats& stats);

// Mean over plates of the brightness of a well's images in units of its plate's, log2, averaged
// over channels: what depends on the place in the plate. Keyed as the wells are named.
struct WellFigure {
  std::string well;
  int images = 0;    // sites of it, over all plates
  double shift = 0;  // NaN where a plate is black
};
std::vector<WellFigure> well_figures(const Dataset& dataset, const DatasetStats& stats);

// Their `shift`, or else their `images`, from the first row and column that occur to the last.
HeatMap plate_map(const std::vector<WellFigure>& wells, bool shift);

// The k nearest neighbours (by cosine) of each row among the rows of other wells: how many are of
// its own experiment, and how many would be if neighbours were drawn at random. k: at most
// `most_neighbours`, and so few that all of a row's could be of its experiment, where that has
// another well at all.
struct NeighbourShare {
  int rows = 0, k = 0;
  double share = 0, chance = 0;  // 0..1
};
// experiment and well (rows): numbers; rows of one well are of one experiment. Nothing where there
// are fewer than two experiments, or no experiment has a second well. Errors: data for values that
// are not finite.
std::optional<NeighbourShare> same_experiment_neighbours(FeatureView features,
                                                         std::span<const int> experiment,
                                                         std::span<const int> well,
                                                         int most_neighbours = 10);

}  // namespace mono::report
