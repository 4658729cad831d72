#include "train/supervised_step.h"

#include "nn/functional/cross_entropy.h"

namespace mono {

SupervisedStep::SupervisedStep(const RunSetup& setup, Model& model)
    : ViewsStep(setup, model, kFigures, {}, {}),
      segment_({0, static_cast<int>(setup.recipe.batch.anchors)}, model.device()),
      statistics_(model.norms(), 1, model.arena().master(), model.device()) {}

void SupervisedStep::accumulate(int64_t step, const ViewBatch& batch,
                                const ForwardContext& context) {
  const Tensor targets = targets_of(batch);
  ForwardContext own = with_drop_path(context, step, batch.pairs, 0);
  own.segments = segment_;
  own.norm.record = &statistics_;
  const Variable logits = model_.forward(Variable(batch.global), own).y;
  figures_.add_mean(kLoss, cross_entropy_losses(logits, targets, 1.0, context));
  figures_.add_correct(kCorrect, logits.value(), targets);
}

void SupervisedStep::follow(int64_t, const ViewBatch&) {
  update_running(statistics_, recipe_.bn.momentum, model_.running());
}

void SupervisedStep::report(int64_t, const std::vector<double>& values, StepFigures& figures) {
  figures.target_loss = figures.loss;
  figures.accuracy = values[kCorrect] / static_cast<double>(images());
}

}  // namespace mono
