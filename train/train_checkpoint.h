// What a checkpoint of training holds, and the way back: the step's state under the PyTorch model's
// names and in its layouts, the position in the run, and what the bits depend on. Nothing else
// carries over from step to step: plan and augmentation are functions of the seed. It does not say
// on which device: a run may go on on another one.
#pragma once

#include <string>

#include "train/checkpoint.h"
#include "train/train_step.h"

namespace mono {

// Of the sites and labels that training sees.
std::string training_sites_hash(const RunSetup& setup);

// Saves the state after `steps_done` optimiser steps. `more` joins state.json under "more": what
// the loop itself keeps (the best validation so far). Errors as CheckpointStore::save.
std::filesystem::path save_training(CheckpointStore& store, const RunSetup& setup, TrainStep& step,
                                    int64_t steps_done, const Json& more = Json::object());

// Puts a checkpoint's state into the step; returns the optimiser steps done. Says on stderr where
// the instruction set is another one than the checkpoint's, as bits then differ. Error(data) where
// the checkpoint is not of this network, or of another screen.
int64_t restore_training(const LoadedCheckpoint& checkpoint, const RunSetup& setup,
                         TrainStep& step);

}  // namespace mono
