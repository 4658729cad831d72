// An optimiser step on a few images: what `check` tries and what time estimates are made from.
#pragma once

#include "train/train_step.h"

namespace mono {

struct TrialStep {
  StepFigures figures;
  int64_t images = 0;           // of the step
  double seconds = 0;           // of the second step; the first one also prepares kernels
  double held_bytes = 0;        // of tensors before the step: weights and what optimisers keep
  double activation_bytes = 0;  // more than that, at most, within the step
};

// A single group (or pairs) of at most `images` images. The model's weights move; `setup` is as
// before.
TrialStep try_a_step(RunSetup& setup, Model& model, int64_t images);

}  // namespace mono
