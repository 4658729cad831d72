// Charts of what runs logged: training, validation, accuracy by experiment.
#pragma once

#include <string>
#include <vector>

#include "train/report/chart.h"
#include "train/report/comparison.h"

namespace mono::report {

// Runs that are one curve: the mean over them, with a band of one standard deviation.
struct CurveGroup {
  std::string title;
  std::vector<const RunRecord*> runs;
};
// The groups of a comparison's methods: of each, the runs of `split` ("separated", "stratified");
// those of views count as separated. Methods without any are left out.
std::vector<CurveGroup> groups_of(const Comparison& comparison, const std::string& split);

struct CurveCharts {
  std::vector<LineChart> charts;  // loss, accuracy, batch accuracy, learning rate, images/s, ...
  std::string points;             // what one is: "Each point is the mean of 3 steps."
};
// Against epochs where it is known how many steps one has, else against steps. At most 200 points a
// curve, at the same places in all of them: folds differ in the steps of an epoch.
CurveCharts training_charts(const std::vector<CurveGroup>& groups);

// k-NN accuracy of validation images in percent; without series where nothing was validated.
LineChart validation_chart(const std::vector<CurveGroup>& groups);

// Percent of each test experiment, means over runs, of the separated split if there is one: bars
// for a few, else a heat map. `split` receives whose it is; empty: nothing was evaluated.
struct ExperimentCharts {
  std::string split;
  BarChart bars;  // where it has series
  HeatMap map;    // else
};
ExperimentCharts experiment_charts(const Comparison& comparison);

}  // namespace mono::report
