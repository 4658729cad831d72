// ResNet v1.5 (He et al. 2016; stride on the 3x3), as torchvision builds it.
//
//   conv1 7x7/2 - bn1 - relu - maxpool 3x3/2 - layer1..layer4 - global average pool - fc
//   bottleneck: 1x1 - bn - relu - 3x3/s - bn - relu - 1x1 - bn - add - relu;  basic: 3x3/s, 3x3
#pragma once

#include "models/model.h"

namespace mono {

struct ResNetConfig {
  std::vector<int> blocks = {3, 4, 6, 3};
  bool bottleneck = true;
  int stem = 64;  // channels of the first stage, doubled with each that follows

  static ResNetConfig resnet18() { return {{2, 2, 2, 2}, false}; }
  static ResNetConfig resnet50() { return {{3, 4, 6, 3}, true}; }
  static ResNetConfig resnet101() { return {{3, 4, 23, 3}, true}; }
};

class ResNet : public Backbone {
 public:
  ResNet(ModelBuilder builder, const ResNetConfig& config, int channels);
  int features() const override { return features_; }
  Variable pooled(const Variable& images, const ForwardContext& context,
                  bool relu_before_pool) const override;

 private:
  struct ConvNorm {
    const Parameter* conv = nullptr;
    const NormLayer* norm = nullptr;
    int stride = 1, pad = 0;
  };
  struct Block {
    std::vector<ConvNorm> path;  // 3 of a bottleneck, 2 of a basic block
    ConvNorm downsample;         // conv null: identity
  };
  Variable apply(const Variable& x, const ConvNorm& layer, const ForwardContext& context, bool relu,
                 const Variable& residual) const;

  ConvNorm stem_;
  std::vector<Block> blocks_;
  int features_;
};

}  // namespace mono
