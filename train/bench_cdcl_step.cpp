#include "train/bench_cdcl_step.h"

#include "kernels/base/philox.h"
#include "nn/functional/augmentation.h"
#include "nn/functional/concat.h"

namespace mono {
namespace {

constexpr int kLocals = 6, kDomains = 4;

SelfSupervisedConfig config_of(const std::string& backbone, int channels) {
  SelfSupervisedConfig config;
  config.backbone = backbone;
  config.options.channels = channels;
  return config;
}

Tensor random_views(int count, int side, int channels, DType dtype, Device device) {
  Philox random(0, Purpose::test, 0, static_cast<uint32_t>(count));
  const Tensor views = Tensor::empty({count, side, side, channels}, DType::f32);
  for (float& value : views.span<float>()) value = static_cast<float>(random.normal());
  return images_on(views, dtype, device);
}

Tensor one_number(double value, Device device) {
  const Tensor number = Tensor::empty({1}, DType::f64);
  *number.data<double>() = value;
  return number.to(device);
}

Tensor domains_of(int rows, Device device) {
  const Tensor domains = Tensor::empty({rows}, DType::i32);
  for (int r = 0; r < rows; ++r) domains.data<int32_t>()[r] = r % kDomains;
  return domains.to(device);
}

AdamWOptions adamw_options() {
  AdamWOptions options;
  options.max_norm = 3;
  options.fixed = [](const Parameter& p) { return p.name.ends_with("last_layer.weight_g"); };
  return options;
}

SelfSupervised& initialised(SelfSupervised& model, Device device) {
  model.initialise(DType::f32, 0, device);
  return model;
}

}  // namespace

BenchCdclStep::BenchCdclStep(const std::string& backbone, int pairs, int image_size, int channels,
                             DType dtype, Device device)
    : student_(config_of(backbone, channels)),
      teacher_(config_of(backbone, channels)),
      pairs_(view_pairs(2 + kLocals)),
      global_(random_views(2 * pairs, image_size, channels, dtype, device)),
      local_(random_views(kLocals * pairs, image_size / 2, channels, dtype, device)),
      domains_(domains_of(2 * pairs, device)),
      student_temperature_(one_number(0.1, device)),
      teacher_temperature_(one_number(0.04, device)),
      global_segment_({0, 2 * pairs}, device),
      local_segment_({0, kLocals * pairs}, device),
      centring_(std::vector<int64_t>(kDomains, 1000), DinoHeadConfig{}.outputs, DType::f32, device),
      optimiser_(initialised(student_, device).arena(), adamw_options()),
      ema_(initialised(teacher_, device).arena(), student_.arena()),
      figures_(1, device) {
  gradient_ = student_.arena().new_array();
  ema_.copy();
  ema_.set_momentum(0.995);
  optimiser_.begin_step({.lr = 1e-4, .weight_decay = 4e-3});
}

void BenchCdclStep::run() {
  figures_.clear();
  ForwardContext no_tape;
  no_tape.segments = global_segment_;
  const Tensor outputs =
      teacher_.project(teacher_.features(Variable(global_), no_tape), no_tape).value();
  const Tensor centred = centring_.centred(outputs, domains_, teacher_temperature_);
  Tape tape;
  ForwardContext global, local;
  global.tape = local.tape = &tape;
  global.segments = global_segment_;
  local.segments = local_segment_;
  {
    const Variable views = concat_rows(student_.features(Variable(global_), global),
                                       student_.features(Variable(local_), local), global);
    const ConsistencyOptions options;
    const ConsistencyLosses losses = consistency_losses(
        student_.project(views, global), centred, pairs_, student_temperature_, options, global);
    figures_.add_mean(0, losses.dino, options.dino_weight);
    figures_.add_mean(0, losses.barlow, options.barlow_weight);
  }
  saved_bytes_ = 0;
  for (const auto& [op, bytes] : tape.saved_bytes()) saved_bytes_ += bytes;
  student_.arena().begin_gradients(gradient_);
  tape.backward();
  student_.arena().finish_gradients();
  optimiser_.apply(gradient_);
  ema_.apply();
  centring_.update(outputs, domains_);
}

}  // namespace mono
