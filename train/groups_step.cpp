#include "train/groups_step.h"

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

// What the device adds up: of each group, and of the step.
enum FigureOfGroup { kLoss, kTargetLoss, kBatchLoss, kCorrect, kBatchCorrect, kFigures };
enum FigureOfStep {
  kGradientSquares,
  kMeanSquares,  // of the statistics: a variance that overflows hides behind normalised zeros
  kVarianceSquares
};

}  // namespace

GroupsStep::GroupsStep(const RunSetup& setup, Model& model, Communicator& ranks)
    : setup_(setup),
      model_(model),
      ranks_(ranks),
      share_(share_of(ranks, setup.recipe.batch.groups)),
      optimiser_(model.arena(), sgd_options(setup.recipe.optim)),
      schedule_(schedule_of(setup)),
      reducer_(model.arena(), ranks, share_.count, sum_options(setup.recipe, ranks)),
      group_statistics_(model.norms(), static_cast<int>(setup.recipe.batch.groups),
                        model.arena().master(), model.device()),
      segment_({0, static_cast<int>(setup.recipe.batch.group_size)}, model.device()),
      figures_(kFigures, model.device(), share_.count + 1),
      reversal_(Tensor::zeros({1}, DType::f64, model.device())) {}

void GroupsStep::start(int64_t first, int64_t last, int workers) {
  loader_.reset();  // its threads end before others begin
  loader_ = std::make_unique<Loader>(setup_, first, last, workers, share_);
}

TrainingState GroupsStep::state() {
  TrainingState state;
  state.add_model("", model_);
  state.add_array("momentum.", model_.arena(), optimiser_.momentum());
  return state;
}

std::optional<StepFigures> GroupsStep::run(int64_t step, const std::function<bool()>& abandon) {
  MONO_CHECK(loader_, "step {} before start()", step);
  BatchHead head = batch_head_at(
      setup_.recipe, static_cast<double>(step) / static_cast<double>(schedule_.total_steps));
  const double factor = -head.lambda;
  upload(reversal_.stream(), reversal_.raw(), &factor, sizeof factor);
  head.factor = reversal_;
  figures_.clear();
  const bool whole =
      run_groups(ranks_, share_, abandon, *loader_, [&](int group, const RawBatch& raw) {
        run_group(group, make_batch(setup_, raw, setup_.recipe.augment.label_smoothing), head);
      });
  if (!whole) {
    reducer_.clear();
    return std::nullopt;
  }
  const Tensor gradient = reducer_.sum();
  loader_->prefetch();
  group_statistics_.gather(ranks_);
  StepFigures figures = read_figures(step, gradient);
  figures.learning_rate = schedule_.at(step);
  optimiser_.step(gradient, figures.learning_rate, 1.0 / share_.groups);
  update_running(group_statistics_, setup_.recipe.bn.momentum, model_.running());
  return figures;
}

void GroupsStep::run_group(int group, const Batch& batch, const BatchHead& head) {
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  context.segments = segment_;
  context.norm.record = &group_statistics_;
  context.norm.record_row = share_.first + group;
  figures_.select_row(group);
  {
    const ModelOutput output = model_.forward(Variable(batch.images), context, head);
    const Tensor losses = cross_entropy_losses(output.y, batch.targets, 1.0, context);
    figures_.add_mean(kTargetLoss, losses);
    figures_.add_mean(kLoss, losses);
    figures_.add_correct(kCorrect, output.y.value(), batch.targets);
    if (output.batch.defined()) {
      const double weight = setup_.recipe.batch_head.weight;
      const Tensor batch_losses =
          cross_entropy_losses(output.batch, batch.batch_targets, weight, context);
      figures_.add_mean(kLoss, batch_losses, weight);
      figures_.add_mean(kBatchLoss, batch_losses);
      figures_.add_correct(kBatchCorrect, output.batch.value(), batch.batch_targets);
    }
  }  // the tape holds what backward needs, nothing else stays alive
  reducer_.backward(tape);
}

StepFigures GroupsStep::read_figures(int64_t step, const Tensor& gradient) {
  figures_.select_row(share_.count);
  figures_.sum_of_squares(kGradientSquares, gradient);
  figures_.sum_of_squares(kMeanSquares, group_statistics_.mean());
  figures_.sum_of_squares(kVarianceSquares, group_statistics_.variance());
  const std::vector<double> own = figures_.read();
  const std::span<const double> of_step = std::span(own).last(kFigures);
  const auto [sums, not_finite] =
      add_groups(ranks_, share_, std::span(own).first(own.size() - kFigures));
  const double groups = share_.groups;
  const double images = static_cast<double>(setup_.recipe.batch.images());
  StepFigures figures;
  figures.loss = sums[kLoss] / groups;
  figures.target_loss = sums[kTargetLoss] / groups;
  figures.batch_loss = sums[kBatchLoss] / groups;
  figures.accuracy = sums[kCorrect] / images;
  figures.batch_accuracy = sums[kBatchCorrect] / images;
  figures.gradient_norm = std::sqrt(of_step[kGradientSquares]) / groups;
  figures.finite = not_finite < 0 &&
                   std::ranges::all_of(of_step, [](double value) { return std::isfinite(value); });
  if (!figures.finite) fail_diverged(step, figures, not_finite, gradient);
  return figures;
}

void GroupsStep::fail_diverged(int64_t step, const StepFigures& figures, int group,
                               const Tensor& gradient) const {
  // Batch norms are registered in the order of the forward pass: the first one with statistics that
  // are not finite is where it began.
  std::string where;
  const Tensor tables[] = {group_statistics_.mean().to(Device::cpu),
                           group_statistics_.variance().to(Device::cpu)};
  for (const NormLayer& layer : model_.norms().layers())
    for (int row = 0; row < group_statistics_.rows() && where.empty(); ++row) {
      const int64_t at = int64_t{row} * model_.norms().columns() + layer.offset;
      for (const Tensor& table : tables)
        if (!std::isfinite(flat_norm(
                table.reshape({static_cast<int>(table.elements())}).range(at, {layer.channels})))) {
          where = fmt::format("the input of {}", layer.name);
          group = row;
        }
    }
  if (where.empty()) {
    const Parameter* parameter = first_not_finite(model_.arena(), gradient);
    where = parameter ? fmt::format("the gradient of {}", parameter->name) : "the loss";
  }
  where += where_it_diverged(ranks_, share_, group, model_.arena());
  fail(
      ErrorKind::diverged,
      "training diverged at step {}: loss {}, gradient norm {}; the first value that is not finite "
      "is in {}. Nothing of this step was saved; lower optim.lr or lengthen optim.warmup_epochs",
      step + 1, figures.loss, figures.gradient_norm, where);
}

}  // namespace mono
