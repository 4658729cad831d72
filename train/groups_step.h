// One optimiser step on groups of images, from uint8 planes to new weights (RxRx1).
//
//   for every group g of the step:
//     images, targets  <- augmentation of what the loader read              (train/data/batch.h)
//     y, batch         <- model(images), batch norm on the group's own statistics, on a tape
//     loss             <- CE(y, target) + weight * CE(batch, experiment)
//     leaf g           <- d loss / d parameters                             (Tape::backward)
//   gradient           <- ((leaf 0 + leaf 1) + (leaf 2 + leaf 3)) + ...      (GradientReducer)
//   SGD with gradient / groups;  running statistics <- mean over the groups, in order
//
// Of several ranks, each computes its share of the groups; sums, statistics and figures of all
// groups reach every rank, which then all make the same update.
//
// The batch head hangs on the embedding behind detach (a probe) or gradient reversal.
// Source: RxRx1 section 4.1, Fig. 5; specs A5.
#pragma once

#include "nn/functional/figures.h"
#include "nn/optim/schedule.h"
#include "nn/optim/sgd.h"
#include "runtime/gradient_reducer.h"
#include "train/data/loader.h"
#include "train/train_step.h"

namespace mono {

class GroupsStep final : public TrainStep {
 public:
  // All must outlive this.
  GroupsStep(const RunSetup& setup, Model& model, Communicator& ranks = single_process());

  void start(int64_t first, int64_t last, int workers) override;
  // `abandon` is asked before each group, of a rank by itself. Error(diverged) names the first
  // layer that is not finite.
  std::optional<StepFigures> run(int64_t step, const std::function<bool()>& abandon = {}) override;
  TrainingState state() override;
  const Model& evaluated() const override { return model_; }
  double waited() const override { return loader_->waited(); }
  int64_t total_steps() const override { return schedule_.total_steps; }
  int64_t epoch_steps() const override { return steps_per_epoch(setup_); }
  int64_t images() const override { return setup_.recipe.batch.images(); }

 private:
  void run_group(int group, const Batch& batch, const BatchHead& head);
  StepFigures read_figures(int64_t step, const Tensor& gradient);
  [[noreturn]] void fail_diverged(int64_t step, const StepFigures& figures, int group,
                                  const Tensor& gradient) const;

  const RunSetup& setup_;
  Model& model_;
  Communicator& ranks_;
  const GroupShare share_;
  std::unique_ptr<Loader> loader_;
  Sgd optimiser_;
  LearningRateSchedule schedule_;
  GradientReducer reducer_;
  NormStatistics group_statistics_;  // a row a group, of all ranks
  SegmentTable segment_;             // one group
  Figures figures_;  // on the device: a row for each group of this rank, one for the whole step
  Tensor reversal_;  // -lambda of gradient reversal, on the device
};

}  // namespace mono
