// Backbones with their heads: torchvision's classifiers, and the RxRx1 paper's.
#pragma once

#include <functional>

#include "models/model.h"

namespace mono {

using MakeBackbone = std::function<std::unique_ptr<Backbone>(ModelBuilder)>;

// Backbone - pool - linear. torchvision's and timm's models: no prefix, and a head called
// `classifier` (DenseNet), `fc` (ResNet) or `head` (DeiT), drawn as theirs is. CDCL's classifiers:
// `backbone.` and `head`. There is no batch head.
class Classifier : public Model {
 public:
  Classifier(const MakeBackbone& make, const std::string& prefix, const std::string& head,
             int classes);
  ModelOutput forward(const Variable& images, const ForwardContext& context,
                      const BatchHead& batch_head) const override;

 private:
  std::unique_ptr<Backbone> backbone_;
  const Parameter *weight_, *bias_;
};

// The RxRx1 paper's classifier (section 4.1, Fig. 5; specs A4):
//
//   backbone - pool - FC (no bias) - BN - ReLU - FC (no bias) - BN - ReLU = embedding (1024, >= 0)
//   head: linear to the classes;  batch_head: linear to the experiments, behind detach or reversal
//
// Parameters: backbone.<torchvision's>, neck.fc1/norm1/fc2/norm2, head, batch_head. The neck's
// batch norms are domain batch norms like all others.
struct RxRx1Config {
  int width = 1024;  // of both neck layers
  int classes = 1139;
  int batch_classes = 51;  // 0: no batch head
  int batch_hidden = 0;    // width of one hidden ReLU layer of the batch head; 0: linear
  bool relu_before_pool = true;
};

class RxRx1Classifier : public Model {
 public:
  RxRx1Classifier(const MakeBackbone& make, const RxRx1Config& config);
  ModelOutput forward(const Variable& images, const ForwardContext& context,
                      const BatchHead& batch_head) const override;

 private:
  std::unique_ptr<Backbone> backbone_;
  RxRx1Config config_;
  const Parameter *fc1_, *fc2_;
  const NormLayer *norm1_, *norm2_;
  const Parameter *head_weight_, *head_bias_;
  const Parameter* batch_hidden_ = nullptr;
  const NormLayer* batch_norm_ = nullptr;
  const Parameter *batch_weight_ = nullptr, *batch_bias_ = nullptr;
};

}  // namespace mono
