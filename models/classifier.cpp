#include "models/classifier.h"

#include "nn/domain/gradient_reversal.h"
#include "nn/functional/linear.h"

namespace mono {

Classifier::Classifier(const MakeBackbone& make, const std::string& prefix, const std::string& head,
                       int classes) {
  backbone_ = make({arena_, norms_, prefix});
  const int features = backbone_->features();
  const bool transformer = head == "head";
  weight_ = &arena_.add(head + ".weight", {classes, features},
                        transformer ? Init::truncated_normal_02 : Init::linear_uniform);
  // torchvision clears DenseNet's bias and leaves ResNet's at torch.nn.Linear's default.
  const Init bias = head == "fc" ? Init::linear_uniform : Init::zeros;
  bias_ = &arena_.add(head + ".bias", {classes}, bias, true, features);
}

ModelOutput Classifier::forward(const Variable& images, const ForwardContext& context,
                                const BatchHead&) const {
  ModelOutput output;
  output.embedding = backbone_->pooled(images, context, true);
  output.y = linear(output.embedding, *weight_, bias_, context);
  return output;
}

RxRx1Classifier::RxRx1Classifier(const MakeBackbone& make, const RxRx1Config& config)
    : config_(config) {
  backbone_ = make({arena_, norms_, "backbone."});
  const int width = config.width;
  fc1_ = &arena_.add("neck.fc1.weight", {width, backbone_->features()}, Init::linear_uniform);
  norm1_ = &norms_.add(arena_, "neck.norm1", width);
  fc2_ = &arena_.add("neck.fc2.weight", {width, width}, Init::linear_uniform);
  norm2_ = &norms_.add(arena_, "neck.norm2", width);
  head_weight_ = &arena_.add("head.weight", {config.classes, width}, Init::linear_uniform);
  head_bias_ = &arena_.add("head.bias", {config.classes}, Init::zeros, true);
  if (config.batch_classes == 0) return;
  int in = width;
  if (config.batch_hidden > 0) {
    batch_hidden_ =
        &arena_.add("batch_head.hidden.weight", {config.batch_hidden, width}, Init::linear_uniform);
    batch_norm_ = &norms_.add(arena_, "batch_head.norm", config.batch_hidden);
    in = config.batch_hidden;
  }
  batch_weight_ =
      &arena_.add("batch_head.weight", {config.batch_classes, in}, Init::linear_uniform);
  batch_bias_ = &arena_.add("batch_head.bias", {config.batch_classes}, Init::zeros, true);
}

ModelOutput RxRx1Classifier::forward(const Variable& images, const ForwardContext& context,
                                     const BatchHead& batch_head) const {
  ModelOutput output;
  Variable x = backbone_->pooled(images, context, config_.relu_before_pool);
  x = domain_batch_norm(linear(x, *fc1_, nullptr, context), *norm1_, context);
  x = domain_batch_norm(linear(x, *fc2_, nullptr, context), *norm2_, context);
  output.embedding = x;
  output.y = linear(x, *head_weight_, head_bias_, context);
  if (!batch_weight_ || batch_head.mode == BatchHead::Mode::off) return output;
  Variable z = batch_head.mode != BatchHead::Mode::reversed ? detach(x)
               : batch_head.factor.defined() ? gradient_reversal(x, batch_head.factor, context)
                                             : gradient_reversal(x, batch_head.lambda, context);
  if (batch_hidden_)
    z = domain_batch_norm(linear(z, *batch_hidden_, nullptr, context), *batch_norm_, context);
  output.batch = linear(z, *batch_weight_, batch_bias_, context);
  return output;
}

}  // namespace mono
