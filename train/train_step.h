// One optimiser step, from uint8 groups to new weights.
//
//   for every group g of the step:
//     images, targets  <- augmentation of what the loader read              (train/data/batch.h)
//     y, batch         <- model(images), batch norm on the group's own statistics, on a tape
//     loss             <- CE(y, target) + weight * CE(batch, experiment)
//     leaf g           <- d loss / d parameters                             (Tape::backward)
//   gradient           <- ((leaf 0 + leaf 1) + (leaf 2 + leaf 3)) + ...      (GradientTree)
//   SGD with gradient / groups;  running statistics <- mean over the groups, in order
//
// The batch head hangs on the embedding behind detach (a probe) or gradient reversal.
// Source: RxRx1 section 4.1, Fig. 5; specs A5.
#pragma once

#include <functional>
#include <optional>

#include "nn/functional/figures.h"
#include "nn/optim/schedule.h"
#include "nn/optim/sgd.h"
#include "runtime/gradient_tree.h"
#include "train/data/loader.h"

namespace mono {

// What a step reports. Means over its images; accuracies count where the largest logit meets the
// largest target.
struct StepFigures {
  double loss = 0;         // of both heads, as it is minimised (the batch head's with its weight)
  double target_loss = 0;  // of the main head
  double batch_loss = 0;   // of the batch head, without its weight
  double accuracy = 0, batch_accuracy = 0;
  double gradient_norm = 0;  // of the mean gradient
  double learning_rate = 0;
  bool finite = true;  // losses, gradient and the groups' statistics
};

class TrainStep {
 public:
  // Both must outlive this.
  TrainStep(const RunSetup& setup, Model& model);

  // Takes batch.groups groups from the loader and updates weights, momentum and running
  // statistics. `step` counts from 0 over all epochs. Error(diverged) names the step (from 1, as
  // everything printed) and the first layer that is not finite; the weights are then those before
  // the step. The device is waited for once, when its figures are read, before the update. Nothing
  // is returned and nothing has changed where `abandon`, which is asked before each group, said so:
  // the end of a long step need not be waited for.
  std::optional<StepFigures> run(int64_t step, Loader& loader,
                                 const std::function<bool()>& abandon = {});

  const Tensor& momentum() const { return optimiser_.momentum(); }
  int64_t total_steps() const { return schedule_.total_steps; }
  int64_t epoch_steps() const { return schedule_.total_steps / setup_.recipe.train.epochs; }

 private:
  void run_group(int group, const Batch& batch, const BatchHead& head);
  StepFigures read_figures(const Tensor& gradient);
  [[noreturn]] void fail_diverged(int64_t step, const StepFigures& figures,
                                  const Tensor& gradient) const;

  const RunSetup& setup_;
  Model& model_;
  Sgd optimiser_;
  LearningRateSchedule schedule_;
  GradientTree tree_;
  NormStatistics group_statistics_;  // a row a group
  SegmentTable segment_;             // one group
  Figures figures_;                  // of the step, on the device
  Tensor reversal_;                  // -lambda of gradient reversal, on the device
};

}  // namespace mono
