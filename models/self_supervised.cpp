#include "models/self_supervised.h"

namespace mono {

SelfSupervised::SelfSupervised(const SelfSupervisedConfig& config)
    : backbone_(make_backbone(config.backbone, {arena_, norms_, "backbone."}, config.options)) {
  if (config.head == SelfSupervisedHead::dino) {
    head_ = std::make_unique<DinoHead>(ModelBuilder{arena_, norms_, "head."}, width(), config.dino);
    return;
  }
  projector_ = std::make_unique<ByolProjector>(ModelBuilder{arena_, norms_, "projector."}, width(),
                                               config.byol);
  if (config.predictor)
    predictor_ = std::make_unique<ByolPredictor>(ModelBuilder{arena_, norms_, "predictor."},
                                                 config.byol.outputs, config.byol.hidden);
}

Variable SelfSupervised::features(const Variable& images, const ForwardContext& context) const {
  return backbone_->pooled(images, context, true);
}

Variable SelfSupervised::project(const Variable& features, const ForwardContext& context) const {
  return head_ ? head_->forward(features, context) : projector_->forward(features, context);
}

Variable SelfSupervised::predict(const Variable& projection, const ForwardContext& context) const {
  MONO_CHECK(predictor_, "a model without a predictor");
  return predictor_->forward(projection, context);
}

ModelOutput SelfSupervised::forward(const Variable& images, const ForwardContext& context,
                                    const BatchHead&) const {
  return {{}, {}, features(images, context)};
}

}  // namespace mono
