#include "train/self_supervised_step.h"

#include <algorithm>

#include "nn/functional/concat.h"
#include "nn/functional/self_supervised.h"

namespace mono {
namespace {

Tensor one_number(double value, Device device) {
  const Tensor number = Tensor::zeros({1}, DType::f64, device);
  upload(number.stream(), number.raw(), &value, sizeof value);
  return number;
}

// The last layer of DINO's head: its direction may be frozen for a while, its length is 1 for ever.
bool is_last_layer(const Parameter& parameter) {
  return parameter.name.find("last_layer.weight_v") != std::string::npos;
}
bool is_length(const Parameter& parameter) {
  return parameter.name.find("last_layer.weight_g") != std::string::npos;
}

ParameterArena& initialised(Model& teacher, const RunSetup& setup) {
  teacher.norms().set_eps(setup.recipe.bn.eps);
  teacher.initialise(DType::f32, setup.recipe.seed, setup.device);
  return teacher.arena();
}

BarlowOptions barlow_options(const Recipe::SelfSupervised& ssl) {
  BarlowOptions options;
  options.diagonal = ssl.barlow_diagonal;
  options.off_diagonal = ssl.barlow_off_diagonal;
  options.divisor =
      ssl.normalise_losses ? ssl.barlow_diagonal + 0.01 * ssl.barlow_off_diagonal : 1.0;
  return options;
}

ConsistencyOptions loss_options(const Recipe::SelfSupervised& ssl) {
  ConsistencyOptions options;
  options.dino_weight = !ssl.barlow_loss ? 1 : ssl.dino_loss ? 1 - ssl.barlow_weight : 0;
  options.barlow_weight = 1 - options.dino_weight;
  options.dino.divide_by_log_k = ssl.normalise_losses;
  options.barlow = barlow_options(ssl);
  return options;
}

DomainCentring centring_of(const RunSetup& setup, const PairSampler& sampler) {
  const Recipe::SelfSupervised& ssl = setup.recipe.ssl;
  if (setup.recipe.method != Method::dino) return {};
  return DomainCentring(sampler.images_of_domains(), static_cast<int>(ssl.outputs), DType::f32,
                        setup.device,
                        {.per_domain = ssl.multi_center, .momentum = ssl.centre_momentum});
}

Tensor ids_on(std::span<const int> ids, Device device) {
  const Tensor host = Tensor::empty({static_cast<int>(ids.size())}, DType::i32);
  std::ranges::copy(ids, host.data<int32_t>());
  return host.to(device);
}

}  // namespace

SelfSupervisedConfig teacher_config(const RunSetup& setup) {
  SelfSupervisedConfig config = self_supervised_config(setup);
  config.predictor = false;
  return config;
}

double teacher_temperature(const Recipe::SelfSupervised& ssl, int64_t epoch) {
  const TemperatureSchedule schedule{ssl.teacher_temperature, ssl.teacher_temperature_end,
                                     static_cast<int>(ssl.teacher_temperature_epochs)};
  return schedule.at(static_cast<int>(epoch));
}

SelfSupervisedStep::SelfSupervisedStep(const RunSetup& setup, SelfSupervised& model,
                                       Communicator& ranks)
    : ViewsStep(setup, model, ranks, kFigures, is_last_layer, is_length),
      student_(model),
      teacher_(teacher_config(setup)),
      ema_(initialised(teacher_, setup), student_.arena()),
      momentum_{recipe_.ssl.teacher_momentum, recipe_.ssl.teacher_momentum_end, total_steps()},
      centring_(centring_of(setup, sampler_)),
      student_temperature_(one_number(recipe_.ssl.student_temperature, setup.device)),
      teacher_temperature_(one_number(recipe_.ssl.teacher_temperature, setup.device)),
      collapse_(recipe_.collapse),
      global_({0, 2 * group_pairs()}, setup.device),
      local_({0, static_cast<int>(recipe_.views.locals) * group_pairs()}, setup.device),
      views_({0, group_pairs(), 2 * group_pairs()}, setup.device),
      statistics_(model.norms(), 2 * groups(), model.arena().master(), setup.device),
      domains_(2 * static_cast<size_t>(images())),
      labels_(static_cast<size_t>(images())) {
  ema_.copy();
  if (recipe_.probe.enabled) probe_.emplace(setup, student_.width(), epoch_steps());
}

void SelfSupervisedStep::start(int64_t first, int64_t last, int workers) {
  ViewsStep::start(first, last, workers);
  if (probe_) probe_->restore(first);
}

TrainingState SelfSupervisedStep::state() {
  TrainingState state = ViewsStep::state();
  state.add_model("teacher.", teacher_);
  if (is_dino()) state.add_tensor("centres", centring_.centres());
  if (probe_) probe_->add_to(state);
  state.add_tensor("collapse_streak", collapse_.streak());
  return state;
}

const Model& SelfSupervisedStep::evaluated() const {
  return is_dino() ? static_cast<const Model&>(teacher_) : student_;
}

void SelfSupervisedStep::keep(const Tensor& rows, int group, Tensor& all) const {
  if (groups() == 1) {
    all = rows;
    return;
  }
  const int count = rows.shape()[0];
  if (!all.defined())
    all = Tensor::empty({count * groups(), rows.shape()[1]}, rows.dtype(), rows.device());
  all.images(group * count, (group + 1) * count).copy_from(rows);
}

void SelfSupervisedStep::accumulate(int64_t step, int group, const ViewBatch& batch,
                                    const ForwardContext& context) {
  std::ranges::copy(batch.domains, domains_.begin() + ptrdiff_t{2} * group * batch.pairs);
  std::ranges::copy(batch.labels, labels_.begin() + ptrdiff_t{group} * batch.pairs);
  if (group == share().first) students_.clear();  // of a step that was abandoned
  if (is_dino())
    accumulate_dino(step, group, batch, context);
  else
    accumulate_byol(step, group, batch, context);
}

void SelfSupervisedStep::accumulate_dino(int64_t step, int group, const ViewBatch& batch,
                                         const ForwardContext& context) {
  const double temperature = teacher_temperature(recipe_.ssl, epoch_of(step));
  upload(teacher_temperature_.stream(), teacher_temperature_.raw(), &temperature,
         sizeof temperature);
  ForwardContext no_tape;
  no_tape.segments = global_;
  const Variable seen = teacher_.features(Variable(batch.global), no_tape);
  const Tensor outputs = teacher_.project(seen, no_tape).value();
  compared_ =
      centring_.centred(outputs, ids_on(batch.domains, model_.device()), teacher_temperature_);
  keep(outputs, group, outputs_);
  if (probe_) keep(seen.value().images(0, batch.pairs), group, features_);

  const auto features = [&](const Tensor& crops, const SegmentTable& segments, int part) {
    ForwardContext own = with_drop_path(context, step, group, crops.shape()[0], part);
    own.segments = segments;
    return student_.features(Variable(crops), own);
  };
  Variable views = features(batch.global, global_, 0);
  if (batch.local.defined()) views = concat_rows(views, features(batch.local, local_, 1), context);
  const Variable logits = student_.project(views, context);
  if (loss_joins_groups())
    students_.push_back(logits);
  else
    add_losses(logits, compared_, batch.pairs, 1, context);
}

void SelfSupervisedStep::accumulate_byol(int64_t step, int group, const ViewBatch& batch,
                                         const ForwardContext& context) {
  ForwardContext target;
  target.segments = views_;
  const Tensor outputs =
      teacher_.project(teacher_.features(Variable(batch.global), target), target).value();
  keep(outputs, group, outputs_);
  ForwardContext online = with_drop_path(context, step, group, 2 * batch.pairs, 0);
  online.segments = views_;
  online.norm.record = &statistics_;
  online.norm.record_row = 2 * group;
  const Variable features = student_.features(Variable(batch.global), online);
  if (probe_) keep(features.value().images(0, batch.pairs), group, features_);
  const Variable predictions = student_.predict(student_.project(features, online), online);
  if (loss_joins_groups())
    students_.push_back(predictions);
  else
    add_losses(predictions, outputs, batch.pairs, 1, context);
}

void SelfSupervisedStep::add_losses(const Variable& student, const Tensor& teacher, int pairs,
                                    double weight, const ForwardContext& context) {
  const Recipe::SelfSupervised& ssl = recipe_.ssl;
  if (!is_dino()) {
    const Tensor losses =
        ssl.dino_loss ? byol_losses(student, teacher, weight, context)
                      : byol_barlow_losses(student, teacher, barlow_options(ssl), weight, context);
    figures_.add_mean(ssl.dino_loss ? kByol : kBarlow, losses);
    figures_.add_mean(kLoss, losses);
    return;
  }
  const ConsistencyOptions options = loss_options(ssl);
  ConsistencyOptions weighted = options;
  weighted.dino_weight *= weight;
  weighted.barlow_weight *= weight;
  const ConsistencyLosses losses = consistency_losses(
      student, teacher, view_pairs(student.shape()[0] / pairs, ssl.only_cross_domain),
      student_temperature_, weighted, context);
  if (losses.dino.defined()) {
    figures_.add_mean(kDino, losses.dino);
    figures_.add_mean(kLoss, losses.dino, options.dino_weight);
  }
  if (losses.barlow.defined()) {
    figures_.add_mean(kBarlow, losses.barlow);
    figures_.add_mean(kLoss, losses.barlow, options.barlow_weight);
  }
}

void SelfSupervisedStep::gather_teachers() {
  // The rows of this rank's groups, contiguous among those of all.
  const auto gather_ids = [&](std::vector<int>& ids) {
    const size_t part = ids.size() / static_cast<size_t>(ranks().size());
    ids = ranks().gather_values(
        std::span<const int>(ids).subspan(part * static_cast<size_t>(ranks().rank()), part));
  };
  gather_ids(domains_);
  gather_ids(labels_);
  ranks().gather_rows(outputs_);
  if (!is_dino())
    compared_ = outputs_;
  else if (groups() > 1)
    compared_ =
        centring_.centred(outputs_, ids_on(domains_, model_.device()), teacher_temperature_);
}

Tensor SelfSupervisedStep::by_view(const Tensor& by_group) const {
  if (groups() == 1) return by_group;
  const int pairs = group_pairs(), views = by_group.shape()[0] / (groups() * pairs);
  const Tensor all = Tensor::empty(by_group.shape(), by_group.dtype(), by_group.device());
  for (int v = 0; v < views; ++v)
    for (int g = 0; g < groups(); ++g) {
      const int to = (v * groups() + g) * pairs, from = (g * views + v) * pairs;
      all.images(to, to + pairs).copy_from(by_group.images(from, from + pairs));
    }
  return all;
}

// Every rank computes the losses of all groups from what all have given, and goes on backward with
// its own groups' rows of the gradient. A group's gradient is later divided by their number, hence
// the weight.
void SelfSupervisedStep::join_losses() {
  gather_teachers();
  Tensor rows;
  for (int g = 0; g < share().count; ++g)
    keep(students_[static_cast<size_t>(g)].value(), share().first + g, rows);
  ranks().gather_rows(rows);
  const Variable all(by_view(rows), true);
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  add_losses(all, by_view(compared_), static_cast<int>(images()), groups(), context);
  tape.backward();
  const int pairs = group_pairs(), views = all.shape()[0] / static_cast<int>(images());
  for (int g = 0; g < share().count; ++g) {
    const Variable& student = students_[static_cast<size_t>(g)];
    const Tensor gradient = Tensor::empty(student.shape(), student.dtype(), model_.device());
    for (int v = 0; v < views; ++v) {
      const int from = (v * groups() + share().first + g) * pairs;
      gradient.images(v * pairs, (v + 1) * pairs).copy_from(all.grad().images(from, from + pairs));
    }
    student.seed_grad(gradient);
  }
  students_.clear();
}

void SelfSupervisedStep::join_groups(int64_t) {
  if (!loss_joins_groups()) gather_teachers();
  if (!is_dino()) statistics_.gather(ranks());
  if (!probe_) return;
  ranks().gather_rows(features_);
  probe_->accumulate(features_, targets_of(labels_), figures_, kProbeLoss, kProbeCorrect);
}

void SelfSupervisedStep::report(int64_t step, const std::vector<double>& values,
                                StepFigures& figures) {
  const auto enter = [&](const char* name, double value) {
    figures.more.emplace_back(name, value);
  };
  if (is_dino() && recipe_.ssl.dino_loss) enter("dino_loss", values[kDino]);
  if (!is_dino() && recipe_.ssl.dino_loss) enter("byol_loss", values[kByol]);
  if (recipe_.ssl.barlow_loss) enter("barlow_loss", values[kBarlow]);
  if (probe_) {
    figures.target_loss = values[kProbeLoss];
    figures.accuracy = values[kProbeCorrect] / static_cast<double>(images());
  }
  const double temperature = teacher_temperature(recipe_.ssl, epoch_of(step));
  CollapseFigures meter = is_dino() ? collapse_figures_of_logits(compared_, temperature)
                                    : collapse_figures_of_rows(compared_);
  if (!recipe_.ssl.dino_loss) meter = {.centred_sd = meter.centred_sd};  // no softmax in the loss
  enter("teacher_centred_sd", meter.centred_sd);
  if (meter.has_softmax) {
    enter("teacher_entropy", meter.entropy);
    enter("teacher_spread", meter.spread);
    enter("teacher_temperature", temperature);
  }
  enter("teacher_momentum", momentum_.at(step + 1));
  collapse_.add(meter, epoch_of(step), step + 1);
}

void SelfSupervisedStep::follow(int64_t step) {
  ema_.update(momentum_.at(step + 1));
  if (is_dino())
    centring_.update(outputs_, ids_on(domains_, model_.device()));
  else
    update_running(statistics_, recipe_.bn.momentum, student_.running());
  if (probe_) probe_->update(step);
}

}  // namespace mono
