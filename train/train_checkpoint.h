// What a checkpoint of training holds, and the way back: weights, running statistics and momentum
// under the PyTorch model's names and in its layouts, the position in the run, and what the bits
// depend on. Nothing else carries over from step to step: plan and augmentation are functions of
// the seed. It does not say on which device: a run may go on on another one.
#pragma once

#include <string>

#include "train/checkpoint.h"
#include "train/train_step.h"

namespace mono {

// XXH3 over the master weights and the running statistics, 16 hexadecimal digits.
std::string weights_fingerprint(const Model& model);

// Saves the state after `step` optimiser steps. Errors as CheckpointStore::save.
std::filesystem::path save_training(CheckpointStore& store, const RunSetup& setup,
                                    const Model& model, const TrainStep& step, int64_t steps_done);

// Puts a checkpoint's state into model and step; returns the optimiser steps done. Says on stderr
// where the instruction set is another one than the checkpoint's, as bits then differ. Error(data)
// where the checkpoint is not of this network, or of another screen.
int64_t restore_training(const LoadedCheckpoint& checkpoint, const RunSetup& setup, Model& model,
                         TrainStep& step);

}  // namespace mono
