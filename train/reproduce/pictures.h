// The drawn figures of the papers, each by its experiment's name: which runs' embeddings, curves or
// accuracies, or which part of the screen, go into which function of train/report/figures.h.
#pragma once

#include <vector>

#include "train/report/figures.h"
#include "train/reproduce/execute.h"

namespace mono {

// Whether the experiment is drawn and not only tabulated.
bool has_picture(const Experiment& experiment);

// The experiment's figure. Errors: data where something that it shows is not there (a run that
// failed, a subset of channels), naming it.
report::Figure picture_of(const Plan& plan, const PlannedExperiment& planned,
                          const Execution& execution, const Result& result, Device device);

}  // namespace mono
