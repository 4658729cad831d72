// The drawn figures of the papers, each by its experiment's name: which runs' embeddings, curves or
// accuracies, or which part of the screen, go into which function of train/report/figures.h.
#pragma once

#include <vector>

#include "train/report/figures.h"
#include "train/reproduce/execute.h"

namespace mono {

// Whether the experiment is drawn and not only tabulated.
bool has_picture(const Experiment& experiment);

// Why there is nothing to draw: a screen, a run, a subset of channels that is not there. No
// failure, or one that was counted where it happened.
struct NoPicture : Error {
  explicit NoPicture(const std::string& why) : Error(ErrorKind::data, why) {}
};

// The experiment's figure; of a grid, of the points that were chosen. Errors: NoPicture; those of
// the screen's images and of the runs.
report::Figure picture_of(const Plan& plan, const PlannedExperiment& planned,
                          const Execution& execution, const Result& result, Device device);

}  // namespace mono
