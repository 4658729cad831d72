#include "models/deit.h"

#include "kernels/base/philox.h"
#include "kernels/base/suggest.h"
#include "nn/functional/attention.h"
#include "nn/functional/linear.h"

namespace mono {

Deit::Deit(ModelBuilder builder, const DeitConfig& config, int channels) : config_(config) {
  const int D = config.dim, hidden = 4 * D;
  if (D < 1 || config.heads < 1 || D % config.heads != 0 || config.depth < 1 || config.patch < 1 ||
      config.grid < 1)
    fail(ErrorKind::usage,
         "DeiT: dim {} in {} heads, depth {}, patch {}, grid {}: dim must be a multiple of heads, "
         "the others at least 1",
         D, config.heads, config.depth, config.patch, config.grid);
  ParameterArena& arena = builder.arena;
  const auto table = [&](const std::string& name, int tokens) {
    return &arena.add(builder.prefix + name, {1, tokens, D}, Init::truncated_normal_02);
  };
  const auto norm = [&](const std::string& name) {
    return LayerNorm{&arena.add(builder.prefix + name + ".weight", {D}, Init::ones, true),
                     &arena.add(builder.prefix + name + ".bias", {D}, Init::zeros, true)};
  };
  const auto layer = [&](const std::string& name, int out, int in) {
    const std::string full = builder.prefix + name;
    return Layer{&arena.add(full + ".weight", {out, in}, Init::truncated_normal_02),
                 &arena.add(full + ".bias", {out}, Init::zeros, true)};
  };
  cls_ = table("cls_token", 1);
  pos_ = table("pos_embed", 1 + config.grid * config.grid);
  // timm leaves the patches at torch.nn.Conv2d's default.
  builder.convolution_init = Init::linear_uniform;
  patch_.weight = builder.convolution("patch_embed.proj", D, config.patch, channels);
  patch_.bias = &arena.add(builder.prefix + "patch_embed.proj.bias", {D}, Init::linear_uniform,
                           true, config.patch * config.patch * channels);
  for (int i = 0; i < config.depth; ++i) {
    const std::string name = fmt::format("blocks.{}.", i);
    Block block;
    block.norm1 = norm(name + "norm1");
    block.qkv = layer(name + "attn.qkv", 3 * D, D);
    block.proj = layer(name + "attn.proj", D, D);
    block.norm2 = norm(name + "norm2");
    block.fc1 = layer(name + "mlp.fc1", hidden, D);
    block.fc2 = layer(name + "mlp.fc2", D, hidden);
    blocks_.push_back(block);
  }
  norm_ = norm("norm");
}

Tensor Deit::keep_of(const ForwardContext& context, int branch, int branches, int images) {
  const Tensor& table = context.drop_path;
  if (!table.defined()) return {};
  MONO_CHECK(table.shape() == (Shape{branches, images}),
             "drop path {} for {} branches of {} images", table.to_string(), branches, images);
  return table.images(branch, branch + 1).reshape({images});
}

Variable Deit::pooled(const Variable& images, const ForwardContext& context, bool) const {
  const Shape& s = images.shape();
  if (s[1] < config_.patch || s[2] < config_.patch || s[1] % config_.patch != 0 ||
      s[2] % config_.patch != 0)
    fail(ErrorKind::usage, "images of {} x {}: this DeiT takes multiples of its patch, {} pixels",
         s[1], s[2], config_.patch);
  const int branches = 2 * config_.depth;
  const Variable patches =
      convolution(images, *patch_.weight, context, {.stride = config_.patch}).y;
  Variable x = tokens(patches, *cls_, *pos_, config_.position_rule, context, patch_.bias);
  int branch = 0;
  for (const Block& block : blocks_) {
    const auto apply = [&](const Variable& in, const Layer& layer, LinearOptions options) {
      options.bias = layer.bias;
      if (options.residual.defined()) options.keep = keep_of(context, branch++, branches, s[0]);
      return linear(in, *layer.weight, options, context);
    };
    const Variable qkv = apply(x, block.qkv, {.layer_norm = &block.norm1});
    x = apply(attention(qkv, config_.heads, context), block.proj, {.residual = x});
    const Variable hidden = apply(x, block.fc1, {.layer_norm = &block.norm2});
    x = apply(hidden, block.fc2, {.gelu = true, .residual = x});
  }
  return layer_norm(class_token(x, context), norm_, context);
}

PositionRule parse_position_rule(const std::string& name) {
  static const std::vector<std::string> names = {"cdcl", "dino", "deit", "timm"};
  static constexpr PositionRule kRules[] = {PositionRule::cdcl, PositionRule::dino,
                                            PositionRule::deit, PositionRule::timm};
  for (size_t i = 0; i < names.size(); ++i)
    if (name == names[i]) return kRules[i];
  fail(ErrorKind::usage, "unknown position rule '{}'; expected cdcl, dino, deit or timm{}", name,
       did_you_mean(name, names));
}

std::vector<float> drop_path_factors(int depth, double rate, int images, Philox& random) {
  if (rate < 0 || rate >= 1)
    fail(ErrorKind::usage, "drop path {}: expected at least 0 and below 1", rate);
  std::vector<float> factors;
  factors.reserve(static_cast<size_t>(2 * depth) * static_cast<size_t>(images));
  for (int branch = 0; branch < 2 * depth; ++branch) {
    const double drop = depth > 1 ? rate * (branch / 2) / (depth - 1) : 0;
    for (int n = 0; n < images; ++n)
      factors.push_back(random.uniform() < drop ? 0.0f : static_cast<float>(1 / (1 - drop)));
  }
  return factors;
}

}  // namespace mono
