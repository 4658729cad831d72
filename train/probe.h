// The online probe: a linear classifier that is trained beside a self-supervised network, on its
// features, without a gradient into them. Its accuracy is CDCL's "Lin.".
//
//   Adam, L2 on the weight alone, a cosine that starts again with every epoch
// Source: CDCL section 4; published code (aux_fc).
#pragma once

#include "nn/functional/figures.h"
#include "nn/optim/adamw.h"
#include "nn/optim/schedule.h"
#include "train/setup.h"
#include "train/training_state.h"

namespace mono {

class Probe {
 public:
  Probe(const RunSetup& setup, int width, int64_t epoch_steps);

  // The gradient of a batch: features (B, width) of any activation type, targets (B, classes).
  // Adds the mean loss to `loss` and the number of right answers to `correct` of figures.
  void accumulate(const Tensor& features, const Tensor& targets, Figures& figures, int loss,
                  int correct);
  // Moves the weights by what accumulate() left; `step` counts from 0.
  void update(int64_t step);
  // Steps that the weights have taken.
  void restore(int64_t steps) { optimiser_.restore({steps, steps}); }

  // "probe.weight", "probe.bias" and their moments.
  void add_to(TrainingState& state);

 private:
  class Linear;
  const Recipe::Probe options_;
  std::shared_ptr<Linear> model_;
  AdamW optimiser_;
  WarmRestartSchedule learning_rate_;
  Tensor gradient_;
};

}  // namespace mono
