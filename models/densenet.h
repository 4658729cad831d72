// DenseNet-BC (Huang et al. 2017), as torchvision builds it.
//
//   conv0 7x7/2 - norm0 - relu - maxpool 3x3/2
//   [ dense block - transition: norm - relu - conv 1x1 - average pool 2x2 ] x 3, dense block
//   norm5 - relu - global average pool - classifier
//
// The transition pools before its 1x1 convolution: both are linear and act on different axes, so
// the result is the same and the convolution sees a quarter of the pixels.
#pragma once

#include "models/model.h"

namespace mono {

struct DenseNetConfig {
  int growth = 32;
  std::vector<int> blocks = {6, 12, 24, 16};
  int stem = 64;
  int bn_size = 4;  // bottleneck channels / growth

  static DenseNetConfig densenet121() { return {32, {6, 12, 24, 16}, 64, 4}; }
  static DenseNetConfig densenet161() { return {48, {6, 12, 36, 24}, 96, 4}; }
  static DenseNetConfig densenet169() { return {32, {6, 12, 32, 32}, 64, 4}; }
  static DenseNetConfig densenet201() { return {32, {6, 12, 48, 32}, 64, 4}; }
};

class DenseNet : public Backbone {
 public:
  DenseNet(ModelBuilder builder, const DenseNetConfig& config, int channels);
  int features() const override { return features_; }
  Variable pooled(const Variable& images, const ForwardContext& context,
                  bool relu_before_pool) const override;

 private:
  struct Transition {
    const NormLayer* norm;
    const Parameter* conv;
  };
  const Parameter* conv0_;
  const NormLayer* norm0_;
  std::vector<std::vector<DenseLayer>> blocks_;
  std::vector<Transition> transitions_;
  const NormLayer* norm5_;
  int features_;
};

}  // namespace mono
