// Trains what a plan needs and is not there yet, one run after the other, and evaluates it.
//
// What is finished is left as it is, what was begun goes on. A run that fails is said to have
// failed and the others go on; a signal ends everything with the run saved, and the next call goes
// on there. `signals`: from before the first run to after the last table, so that none is missed.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/reproduce/plan.h"
#include "train/reproduce/results.h"
#include "train/signals.h"

namespace mono {

struct RunOutcome {
  std::string reason;               // why there is no finished run; empty: there is one
  std::optional<ErrorKind> failed;  // where training it failed
};

struct Execution {
  std::vector<RunOutcome> runs;  // as Plan::runs
  bool interrupted = false;
};

Execution execute(const Plan& plan, const ReproduceOptions& options, const SignalCatcher& signals);

// The result of an experiment, from the runs that are there. Evaluates what no earlier call has.
// Of a grid the point with the best validation accuracy, mean over folds and seeds, is taken; only
// that one is ever evaluated on test images. Error(interrupted) for a signal between two
// evaluations.
Result collect(const Plan& plan, const PlannedExperiment& planned, const Execution& execution,
               Device device, const SignalCatcher& signals);

}  // namespace mono
