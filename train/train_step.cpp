#include "train/train_step.h"

#include <algorithm>
#include <cmath>

#include "nn/functional/cross_entropy.h"
#include "nn/optim/flat_norm.h"

namespace mono {
namespace {

SgdOptions sgd_options(const Recipe::Optim& optim) {
  return {.momentum = optim.momentum,
          .weight_decay = optim.weight_decay,
          .nesterov = optim.nesterov,
          .decay_norm_and_bias = optim.decay_norm_and_bias};
}

LearningRateSchedule schedule_of(const RunSetup& setup) {
  const int64_t per_epoch = steps_per_epoch(setup);
  LearningRateSchedule schedule;
  schedule.lr = setup.recipe.optim.lr;
  schedule.total_steps = per_epoch * setup.recipe.train.epochs;
  schedule.warmup_steps =
      std::min(schedule.total_steps,
               static_cast<int64_t>(std::llround(setup.recipe.optim.warmup_epochs * per_epoch)));
  schedule.cosine = setup.recipe.optim.schedule == LrSchedule::cosine;
  return schedule;
}

// The share of rows whose largest logit is where the target is largest (the first of equals).
double accuracy_of(const Tensor& logits, const Tensor& targets) {
  const int rows = logits.shape()[0], classes = logits.shape()[1];
  int right = 0;
  dispatch_activation(logits.dtype(), [&]<class T>() {
    for (int n = 0; n < rows; ++n) {
      const T* y = logits.data<T>() + int64_t{n} * classes;
      const float* target = targets.data<float>() + int64_t{n} * classes;
      const T* best =
          std::max_element(y, y + classes, [](T a, T b) { return Master<T>(a) < Master<T>(b); });
      right += best - y == std::max_element(target, target + classes) - target;
    }
  });
  return static_cast<double>(right) / rows;
}

}  // namespace

TrainStep::TrainStep(const RunSetup& setup, Model& model)
    : setup_(setup),
      model_(model),
      optimiser_(model.arena(), sgd_options(setup.recipe.optim)),
      schedule_(schedule_of(setup)),
      tree_(model.arena()),
      group_statistics_(model.norms(), static_cast<int>(setup.recipe.batch.groups),
                        model.arena().master()) {}

std::optional<StepFigures> TrainStep::run(int64_t step, Loader& loader,
                                          const std::function<bool()>& abandon) {
  const int groups = static_cast<int>(setup_.recipe.batch.groups);
  const BatchHead head = batch_head_at(
      setup_.recipe, static_cast<double>(step) / static_cast<double>(schedule_.total_steps));
  StepFigures figures;
  for (int g = 0; g < groups; ++g) {
    if (abandon && abandon()) {
      tree_.clear();
      return std::nullopt;
    }
    run_group(g, make_batch(setup_, loader.next(), setup_.recipe.augment.label_smoothing), head,
              figures);
  }
  const Tensor gradient = tree_.sum();
  for (double* sum : {&figures.loss, &figures.target_loss, &figures.batch_loss, &figures.accuracy,
                      &figures.batch_accuracy})
    *sum /= groups;
  figures.gradient_norm = flat_norm(gradient) / groups;
  figures.learning_rate = schedule_.at(step);
  check_finite(step, figures, gradient);
  optimiser_.step(gradient, figures.learning_rate, 1.0 / groups);
  update_running(model_.norms(), group_statistics_, setup_.recipe.bn.momentum, model_.running());
  return figures;
}

void TrainStep::run_group(int group, const Batch& batch, const BatchHead& head,
                          StepFigures& figures) {
  const int offsets[2] = {0, batch.images.shape()[0]};
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  context.segments = {1, offsets};
  context.norm.record = &group_statistics_;
  context.norm.record_row = group;
  {
    const ModelOutput output = model_.forward(Variable(batch.images), context, head);
    const double loss = soft_cross_entropy(output.y, batch.targets, 1.0, context);
    figures.target_loss += loss;
    figures.loss += loss;
    figures.accuracy += accuracy_of(output.y.value(), batch.targets);
    if (output.batch.defined()) {
      const double weight = setup_.recipe.batch_head.weight;
      const double weighted =
          soft_cross_entropy(output.batch, batch.batch_targets, weight, context);
      figures.loss += weighted;
      figures.batch_loss += weight > 0 ? weighted / weight : 0;
      figures.batch_accuracy += accuracy_of(output.batch.value(), batch.batch_targets);
    }
  }  // the tape holds what backward needs, nothing else stays alive
  const Tensor leaf = tree_.next_leaf();
  model_.arena().begin_gradients(leaf);
  tape.backward();
  model_.arena().finish_gradients();
  tree_.add(leaf);
}

void TrainStep::check_finite(int64_t step, const StepFigures& figures,
                             const Tensor& gradient) const {
  // Statistics too: a variance that overflows hides behind normalised values of zero.
  if (std::isfinite(figures.loss) && std::isfinite(figures.gradient_norm) &&
      std::isfinite(flat_norm(group_statistics_.mean())) &&
      std::isfinite(flat_norm(group_statistics_.variance())))
    return;
  // Batch norms are registered in the order of the forward pass: the first one with statistics that
  // are not finite is where it began.
  std::string where;
  for (const NormLayer& layer : model_.norms().layers())
    for (int64_t row = 0; row < group_statistics_.rows() && where.empty(); ++row) {
      const int64_t at = row * model_.norms().columns() + layer.offset;
      for (const Tensor& table : {group_statistics_.mean(), group_statistics_.variance()})
        if (!std::isfinite(flat_norm(
                table.reshape({static_cast<int>(table.elements())}).range(at, {layer.channels}))))
          where = fmt::format("the input of {}", layer.name);
    }
  if (where.empty()) {
    const Parameter* parameter = first_not_finite(model_.arena(), gradient);
    where = parameter ? fmt::format("the gradient of {}", parameter->name) : "the loss";
  }
  fail(
      ErrorKind::diverged,
      "training diverged at step {}: loss {}, gradient norm {}; the first value that is not finite "
      "is in {}. Nothing of this step was saved; lower optim.lr or lengthen optim.warmup_epochs",
      step + 1, figures.loss, figures.gradient_norm, where);
}

}  // namespace mono
