#include "models/densenet.h"

#include "nn/functional/pooling.h"

namespace mono {

DenseNet::DenseNet(ModelBuilder builder, const DenseNetConfig& config, int channels) {
  builder.convolution_init = Init::kaiming_normal_fan_in;
  builder.prefix += "features.";
  conv0_ = builder.convolution("conv0", config.stem, 7, channels);
  norm0_ = builder.norm("norm0", config.stem);
  int width = config.stem;
  const int bottleneck = config.bn_size * config.growth;
  for (size_t b = 0; b < config.blocks.size(); ++b) {
    std::vector<DenseLayer>& block = blocks_.emplace_back();
    for (int l = 0; l < config.blocks[b]; ++l) {
      const std::string name = fmt::format("denseblock{}.denselayer{}.", b + 1, l + 1);
      DenseLayer layer;
      layer.norm1 = builder.norm(name + "norm1", width);
      layer.conv1 = builder.convolution(name + "conv1", bottleneck, 1, width);
      layer.norm2 = builder.norm(name + "norm2", bottleneck);
      layer.conv2 = builder.convolution(name + "conv2", config.growth, 3, bottleneck);
      block.push_back(layer);
      width += config.growth;
    }
    if (b + 1 < config.blocks.size()) {
      const std::string name = fmt::format("transition{}.", b + 1);
      const NormLayer* norm = builder.norm(name + "norm", width);
      transitions_.push_back({norm, builder.convolution(name + "conv", width / 2, 1, width)});
      width /= 2;
    }
  }
  // torchvision calls the last norm norm5 because its models have four blocks.
  norm5_ = builder.norm("norm5", width);
  features_ = width;
}

Variable DenseNet::pooled(const Variable& images, const ForwardContext& context,
                          bool relu_before_pool) const {
  ConvolutionResult stem =
      convolution(images, *conv0_, context, {.stride = 2, .pad = 3, .want_moments = true});
  Variable x = domain_batch_norm(stem.y, *norm0_, context, {.known = stem.moments});
  stem = {};
  x = max_pool(x, 3, 2, 1, context);
  for (size_t b = 0; b < blocks_.size(); ++b) {
    DenseBlockResult block = dense_block(x, blocks_[b], context);
    if (b == transitions_.size()) {
      x = domain_batch_norm(block.x, *norm5_, context,
                            {.relu = relu_before_pool, .known = block.moments});
      break;
    }
    x = domain_batch_norm(block.x, *transitions_[b].norm, context, {.known = block.moments});
    x = average_pool(x, 2, 2, context);
    x = convolution(x, *transitions_[b].conv, context).y;
  }
  return global_average_pool(x, context);
}

}  // namespace mono
