#include "models/self_supervised_heads.h"

#include "nn/functional/linear.h"
#include "nn/functional/self_supervised.h"

namespace mono {

DinoHead::DinoHead(const ModelBuilder& builder, int features, const DinoHeadConfig& config)
    : config_(config) {
  const int widths[] = {features, config.hidden, config.hidden, config.bottleneck};
  for (int i = 0; i < 3; ++i) {
    const std::string name = builder.prefix + "mlp." + std::to_string(2 * i);
    weights_[i] =
        &builder.arena.add(name + ".weight", {widths[i + 1], widths[i]}, Init::truncated_normal_02);
    biases_[i] = &builder.arena.add(name + ".bias", {widths[i + 1]}, Init::zeros, true);
  }
  weight_g_ = &builder.arena.add(builder.prefix + "last_layer.weight_g", {config.outputs, 1},
                                 Init::ones, !config.train_g);
  weight_v_ = &builder.arena.add(builder.prefix + "last_layer.weight_v",
                                 {config.outputs, config.bottleneck}, Init::linear_uniform);
}

Variable DinoHead::forward(const Variable& x, const ForwardContext& context) const {
  Variable y = x;
  for (int i = 0; i < 3; ++i)
    y = linear(y, *weights_[i], {.bias = biases_[i], .gelu = i > 0}, context);
  return weight_norm_linear(l2_normalise(y, context), *weight_v_, *weight_g_, config_.train_g,
                            context);
}

ByolMlp::ByolMlp(const ModelBuilder& builder, int features, const ByolConfig& config)
    : config_(config) {
  const auto add_linear = [&](int i, const char* name, int out, int in) {
    const std::string layer = builder.prefix + name;
    weights_[i] = &builder.arena.add(layer + ".weight", {out, in}, Init::linear_uniform);
    biases_[i] = &builder.arena.add(layer + ".bias", {out}, Init::linear_uniform, true, in);
  };
  const auto add_norm = [&](const char* name, int channels) {
    return &builder.norms.add(builder.arena, builder.prefix + name, channels);
  };
  add_linear(0, "0", config.hidden, features);
  norm_ = add_norm("1", config.hidden);
  add_linear(1, "3", config.outputs, config.hidden);
  if (config.output_norm) output_norm_ = add_norm("4", config.outputs);
}

Variable ByolMlp::forward(const Variable& x, const ForwardContext& context) const {
  Variable y = domain_batch_norm(linear(x, *weights_[0], biases_[0], context), *norm_, context);
  y = linear(y, *weights_[1], biases_[1], context);
  return output_norm_ ? domain_batch_norm(y, *output_norm_, context, {.relu = false}) : y;
}

}  // namespace mono
