#include "models/resnet.h"

#include "nn/functional/pooling.h"

namespace mono {

ResNet::ResNet(ModelBuilder builder, const ResNetConfig& config, int channels) {
  builder.convolution_init = Init::kaiming_normal_fan_out;
  const int expansion = config.bottleneck ? 4 : 1;
  const auto conv_norm = [&](const std::string& conv, const std::string& norm, int K, int R, int C,
                             int stride) {
    const Parameter* w = builder.convolution(conv, K, R, C);
    return ConvNorm{w, builder.norm(norm, K), stride, R / 2};
  };
  stem_ = conv_norm("conv1", "bn1", config.stem, 7, channels, 2);
  int width = config.stem;
  for (size_t stage = 0; stage < config.blocks.size(); ++stage) {
    const int planes = config.stem << stage;
    for (int i = 0; i < config.blocks[stage]; ++i) {
      const std::string name = fmt::format("layer{}.{}.", stage + 1, i);
      const int stride = stage > 0 && i == 0 ? 2 : 1;
      const int out = planes * expansion;
      Block block;
      if (config.bottleneck) {
        block.path = {conv_norm(name + "conv1", name + "bn1", planes, 1, width, 1),
                      conv_norm(name + "conv2", name + "bn2", planes, 3, planes, stride),
                      conv_norm(name + "conv3", name + "bn3", out, 1, planes, 1)};
      } else {
        block.path = {conv_norm(name + "conv1", name + "bn1", planes, 3, width, stride),
                      conv_norm(name + "conv2", name + "bn2", planes, 3, planes, 1)};
      }
      if (stride != 1 || width != out)
        block.downsample =
            conv_norm(name + "downsample.0", name + "downsample.1", out, 1, width, stride);
      blocks_.push_back(block);
      width = out;
    }
  }
  features_ = width;
}

Variable ResNet::apply(const Variable& x, const ConvNorm& layer, const ForwardContext& context,
                       bool relu, const Variable& residual) const {
  const ConvolutionResult conv = convolution(
      x, *layer.conv, context, {.stride = layer.stride, .pad = layer.pad, .want_moments = true});
  return domain_batch_norm(conv.y, *layer.norm, context,
                           {.relu = relu, .residual = residual, .known = conv.moments});
}

Variable ResNet::pooled(const Variable& images, const ForwardContext& context, bool) const {
  Variable x = apply(images, stem_, context, true, {});
  x = max_pool(x, 3, 2, 1, context);
  for (const Block& block : blocks_) {
    Variable shortcut = block.downsample.conv ? apply(x, block.downsample, context, false, {}) : x;
    for (size_t i = 0; i < block.path.size(); ++i)
      x = apply(x, block.path[i], context, true,
                i + 1 == block.path.size() ? shortcut : Variable());
  }
  return global_average_pool(x, context);
}

}  // namespace mono
