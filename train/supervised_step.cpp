#include "train/supervised_step.h"

#include "nn/functional/cross_entropy.h"

namespace mono {

SupervisedStep::SupervisedStep(const RunSetup& setup, Model& model, Communicator& ranks)
    : ViewsStep(setup, model, ranks, kFigures, {}, {}),
      segment_({0, group_pairs()}, model.device()),
      statistics_(model.norms(), groups(), model.arena().master(), model.device()) {}

void SupervisedStep::accumulate(int64_t step, int group, const ViewBatch& batch,
                                const ForwardContext& context) {
  const Tensor targets = targets_of(batch.labels);
  ForwardContext own = with_drop_path(context, step, group, batch.pairs, 0);
  own.segments = segment_;
  own.norm.record = &statistics_;
  own.norm.record_row = group;
  const Variable logits = model_.forward(Variable(batch.global), own).y;
  figures_.add_mean(kLoss, cross_entropy_losses(logits, targets, 1.0, context));
  figures_.add_correct(kCorrect, logits.value(), targets);
}

void SupervisedStep::join_groups(int64_t) {
  statistics_.gather(ranks());
}

void SupervisedStep::follow(int64_t) {
  update_running(statistics_, recipe_.bn.momentum, model_.running());
}

void SupervisedStep::report(int64_t, const std::vector<double>& values, StepFigures& figures) {
  figures.target_loss = figures.loss;
  figures.accuracy = values[kCorrect] / group_pairs();
}

}  // namespace mono
