// What the steps on views have in common (CDCL): groups of pairs, a loss on each, their mean
// gradient clipped by its global norm, AdamW, and rates that follow the step's number.
//
//   for every group of the step (the papers' one GPU: one group) that this rank has:
//     batch    <- the group's pairs, cropped on the device                  (data/view_loader.h)
//     leaf     <- d of the method's loss on the group / d parameters        (accumulate())
//   gradient   <- the tree over all groups of all ranks / groups            (GradientReducer)
//   figures    <- read once; a value that is not finite ends the run here, nothing has changed
//   update     <- AdamW; then what follows the weights: a teacher, centres, the probe  (follow())
#pragma once

#include "nn/functional/figures.h"
#include "nn/optim/adamw.h"
#include "nn/optim/schedule.h"
#include "runtime/gradient_reducer.h"
#include "train/data/view_loader.h"
#include "train/train_step.h"

namespace mono {

// The recipe's views; one global crop and no local ones for supervised training.
ViewOptions view_options(const Recipe& recipe);

// Pairs that training draws from: an image with itself without ssl.cross_batch. Errors: those of
// PairSampler, data for a treatment that has no image in another domain.
PairSampler pair_sampler(const RunSetup& setup);

class ViewsStep : public TrainStep {
 public:
  void start(int64_t first, int64_t last, int workers) override;
  std::optional<StepFigures> run(int64_t step, const std::function<bool()>& abandon = {}) final;
  const Model& evaluated() const override { return model_; }
  // The step on one group from elsewhere: what run() does with the loader's.
  StepFigures run_on(int64_t step, const ViewBatch& batch);
  // The sum over the groups of the last step's gradients, before clipping: a flat array of the
  // model's arena, which the next step overwrites.
  const Tensor& gradient() const { return gradient_; }
  double waited() const override { return loader_->waited(); }
  int64_t total_steps() const override { return learning_rate_.total_steps; }
  int64_t epoch_steps() const override { return epoch_steps_; }
  int64_t images() const override { return setup_.recipe.batch.anchors; }

 protected:
  // Figures of a group that every method has; a method's own begin at kOwnFigures. Reported is
  // their mean over the groups; kGradientSquares is of the whole step.
  enum { kLoss, kGradientSquares, kOwnFigures };

  // `figures`: how many there are, the method's own included. `freezable`: parameters that stand
  // still for the first ssl.freeze_last_layer_epochs; `fixed`: ones that never move; both may be
  // empty. Arguments must outlive this.
  ViewsStep(const RunSetup& setup, Model& model, Communicator& ranks, int figures,
            std::function<bool(const Parameter&)> freezable,
            std::function<bool(const Parameter&)> fixed);

  // Records the loss of a group (its index among the step's) on context.tape, seeds its gradient,
  // and adds kLoss and the method's own figures.
  virtual void accumulate(int64_t step, int group, const ViewBatch& batch,
                          const ForwardContext& context) = 0;
  // Whether the loss is one over all groups of the step. Then accumulate() goes as far as what the
  // loss is made of, and join_losses() seeds the gradient of that for each group of this rank,
  // whose activations are all kept until then.
  virtual bool loss_joins_groups() const { return false; }
  virtual void join_losses() {}
  // What all groups of all ranks are needed for, once every group has run; figures as before.
  virtual void join_groups(int64_t step) = 0;
  // After the weights have moved.
  virtual void follow(int64_t step) = 0;
  // Turns what the device added up into what is reported; may throw Error(diverged).
  virtual void report(int64_t step, const std::vector<double>& values, StepFigures& figures) = 0;

  int groups() const { return share_.groups; }
  int group_pairs() const { return static_cast<int>(images()) / share_.groups; }
  const GroupShare& share() const { return share_; }
  Communicator& ranks() const { return ranks_; }

  int64_t epoch_of(int64_t step) const { return step / epoch_steps_; }
  // Model, moments; what a method has besides is its own to add.
  TrainingState state() override;
  // The context with a drop path drawn for `images` crops; `part` (0 or 1) tells the draws of a
  // group apart.
  ForwardContext with_drop_path(const ForwardContext& context, int64_t step, int group, int images,
                                int part) const;
  // Classes as targets (labels, classes) f32 on the device; a row of zeros where unknown (-1).
  Tensor targets_of(std::span<const int> labels) const;

  const RunSetup& setup_;
  const Recipe& recipe_;
  Model& model_;
  const PairSampler sampler_;
  Figures figures_;  // a row for each group of this rank, and one for the step

 private:
  bool frozen(int64_t step) const;
  void run_group(int64_t step, int group, const ViewBatch& batch);
  StepFigures finish(int64_t step);

  Communicator& ranks_;
  const GroupShare share_;
  const int64_t epoch_steps_;
  LearningRateSchedule learning_rate_;
  CosineSchedule weight_decay_;
  AdamW optimiser_;
  GradientReducer reducer_;
  std::vector<std::unique_ptr<Tape>> held_;  // of groups that wait for join_losses()
  Tensor gradient_;
  std::unique_ptr<ViewLoader> loader_;
};

}  // namespace mono
