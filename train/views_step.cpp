#include "train/views_step.h"

#include <algorithm>
#include <cmath>

#include "nn/optim/flat_norm.h"

namespace mono {
namespace {

LearningRateSchedule learning_rate_of(const Recipe& recipe, int64_t per_epoch) {
  const Recipe::Optim& optim = recipe.optim;
  LearningRateSchedule schedule;
  schedule.lr = optim.lr;
  schedule.total_steps = per_epoch * recipe.train.epochs;
  const int64_t asked = optim.warmup_steps > 0
                            ? optim.warmup_steps
                            : std::llround(optim.warmup_epochs * static_cast<double>(per_epoch));
  schedule.warmup_steps = std::min(schedule.total_steps, asked);
  schedule.cosine = optim.schedule == LrSchedule::cosine;
  schedule.start = optim.warmup_lr;
  schedule.floor = optim.eta_min;
  schedule.overshoot = optim.warmup_overshoot && schedule.warmup_steps > 0;
  return schedule;
}

AdamWOptions adamw_options(const Recipe::Optim& optim,
                           std::function<bool(const Parameter&)> freezable,
                           std::function<bool(const Parameter&)> fixed) {
  AdamWOptions options;
  options.beta1 = optim.beta1;
  options.beta2 = optim.beta2;
  options.eps = optim.eps;
  options.max_norm = optim.clip;
  options.freezable = std::move(freezable);
  options.fixed = std::move(fixed);
  if (optim.decay_norm_and_bias) options.decays = [](const Parameter&) { return true; };
  return options;
}

}  // namespace

ViewOptions view_options(const Recipe& recipe) {
  const Recipe::Views& views = recipe.views;
  ViewOptions options;
  options.global = {views.scale[0], views.scale[1], static_cast<int>(views.size)};
  options.local = {views.local_scale[0], views.local_scale[1], static_cast<int>(views.local_size)};
  options.global_crops = recipe.method == Method::supervised ? 1 : 2;
  options.local_crops = recipe.method == Method::dino ? static_cast<int>(views.locals) : 0;
  options.flip = options.quarter_turns = views.dihedral ? 0.5 : 0;
  options.colour = views.colour_probability;
  options.gain_std = views.colour_gain_sd;
  options.shift_std = views.colour_shift_sd;
  return options;
}

PairSampler pair_sampler(const RunSetup& setup) {
  const Recipe& recipe = setup.recipe;
  PairKeys keys =
      pair_keys(setup.dataset, recipe.data.domain_key == DomainKey::plate ? PairDomain::plate
                                                                          : PairDomain::experiment);
  PairRule rule = PairRule::self;
  if (recipe.method != Method::supervised && recipe.ssl.cross_batch)
    rule = recipe.data.pair_key == PairKey::treatment ? PairRule::other_domain
                                                      : PairRule::other_domain_if_any;
  return PairSampler(std::move(keys), setup.split.train, rule);
}

ViewsStep::ViewsStep(const RunSetup& setup, Model& model, Communicator& ranks, int figures,
                     std::function<bool(const Parameter&)> freezable,
                     std::function<bool(const Parameter&)> fixed)
    : setup_(setup),
      recipe_(setup.recipe),
      model_(model),
      sampler_(pair_sampler(setup)),
      figures_(figures, model.device(), share_of(ranks, setup.recipe.batch.groups).count + 1),
      ranks_(ranks),
      share_(share_of(ranks, setup.recipe.batch.groups)),
      epoch_steps_(view_steps_per_epoch(sampler_, view_options(setup.recipe),
                                        static_cast<int>(setup.recipe.batch.anchors))),
      learning_rate_(learning_rate_of(setup.recipe, epoch_steps_)),
      weight_decay_{recipe_.optim.weight_decay,
                    recipe_.optim.weight_decay_end < 0 ? recipe_.optim.weight_decay
                                                       : recipe_.optim.weight_decay_end,
                    std::max<int64_t>(learning_rate_.total_steps, 1)},
      optimiser_(model.arena(),
                 adamw_options(recipe_.optim, std::move(freezable), std::move(fixed))),
      reducer_(model.arena(), ranks, share_.count, sum_options(setup.recipe, ranks)) {}

bool ViewsStep::frozen(int64_t step) const {
  return epoch_of(step) < recipe_.ssl.freeze_last_layer_epochs;
}

void ViewsStep::start(int64_t first, int64_t last, int workers) {
  loader_.reset();  // its threads end before others begin
  loader_ = std::make_unique<ViewLoader>(setup_, sampler_, view_options(recipe_),
                                         static_cast<int>(recipe_.batch.anchors), first, last,
                                         workers, share_);
  const int64_t held = recipe_.ssl.freeze_last_layer_epochs * epoch_steps_;
  optimiser_.restore({first, std::max<int64_t>(0, first - held)});
}

TrainingState ViewsStep::state() {
  TrainingState state;
  state.add_model("", model_);
  state.add_array("first_moment.", model_.arena(), optimiser_.first_moment());
  state.add_array("second_moment.", model_.arena(), optimiser_.second_moment());
  return state;
}

Tensor ViewsStep::targets_of(std::span<const int> labels) const {
  const Tensor targets =
      Tensor::zeros({static_cast<int>(labels.size()), setup_.classes}, DType::f32);
  for (size_t b = 0; b < labels.size(); ++b)
    if (labels[b] >= 0)
      targets.data<float>()[static_cast<int64_t>(b) * setup_.classes + labels[b]] = 1;
  return targets.to(model_.device());
}

ForwardContext ViewsStep::with_drop_path(const ForwardContext& context, int64_t step, int group,
                                         int images, int part) const {
  if (recipe_.model.drop_path == 0) return context;
  Philox random(recipe_.seed, Purpose::drop_path, static_cast<uint32_t>(step),
                static_cast<uint32_t>(2 * group + part));
  const int depth = deit_config(recipe_).depth;
  const std::vector<float> factors =
      drop_path_factors(depth, recipe_.model.drop_path, images, random);
  const Tensor table = Tensor::empty({2 * depth, images}, DType::f32);
  std::ranges::copy(factors, table.data<float>());
  ForwardContext with = context;
  with.drop_path = table.to(model_.device());
  return with;
}

std::optional<StepFigures> ViewsStep::run(int64_t step, const std::function<bool()>& abandon) {
  MONO_CHECK(loader_, "step {} before start()", step);
  figures_.clear();
  const bool whole =
      run_groups(ranks_, share_, abandon, *loader_,
                 [&](int group, const ViewBatch& batch) { run_group(step, group, batch); });
  if (!whole) {
    held_.clear();
    reducer_.clear();
    return std::nullopt;
  }
  loader_->prefetch();
  return finish(step);
}

StepFigures ViewsStep::run_on(int64_t step, const ViewBatch& batch) {
  figures_.clear();
  run_group(step, 0, batch);
  return finish(step);
}

void ViewsStep::run_group(int64_t step, int group, const ViewBatch& batch) {
  figures_.select_row(group);
  auto tape = std::make_unique<Tape>();
  ForwardContext context;
  context.tape = tape.get();
  accumulate(step, share_.first + group, batch, context);
  if (loss_joins_groups())
    held_.push_back(std::move(tape));
  else
    reducer_.backward(*tape);
}

StepFigures ViewsStep::finish(int64_t step) {
  figures_.select_row(share_.count);
  if (loss_joins_groups()) join_losses();
  for (std::unique_ptr<Tape>& tape : held_) {
    reducer_.backward(*tape);
    tape.reset();
  }
  held_.clear();
  gradient_ = reducer_.sum();
  figures_.sum_of_squares(kGradientSquares, gradient_);
  join_groups(step);
  const std::vector<double> own = figures_.read();
  const size_t count = own.size() / static_cast<size_t>(share_.count + 1);
  std::vector<double> values(own.end() - static_cast<ptrdiff_t>(count), own.end());
  const auto [sums, not_finite] =
      add_groups(ranks_, share_, std::span(own).first(own.size() - count));
  for (size_t i = 0; i < count; ++i) values[i] += sums[i] / share_.groups;
  StepFigures figures;
  figures.loss = values[kLoss];
  figures.gradient_norm = std::sqrt(values[kGradientSquares]) / share_.groups;
  figures.learning_rate = learning_rate_.at(step);
  figures.finite = std::ranges::all_of(values, [](double value) { return std::isfinite(value); });
  if (!figures.finite) {
    const Parameter* parameter = first_not_finite(model_.arena(), gradient_);
    std::string where = parameter ? "the gradient of " + parameter->name : "the loss";
    where += where_it_diverged(ranks_, share_, not_finite, model_.arena());
    fail(ErrorKind::diverged,
         "training diverged at step {}: loss {}, gradient norm {}; the first value that is not "
         "finite is in {}. Nothing of this step was saved; lower optim.lr or lengthen the warm-up",
         step + 1, figures.loss, figures.gradient_norm, where);
  }
  report(step, values, figures);
  optimiser_.step(gradient_, {.lr = figures.learning_rate,
                              .weight_decay = weight_decay_.at(step),
                              .grad_scale = 1.0 / share_.groups,
                              .frozen = frozen(step)});
  follow(step);
  return figures;
}

}  // namespace mono
