// A backbone with the heads of self-supervision: what DINO, BYOL and CDCL train, and, without a
// predictor, their teachers.
//
//   images - backbone = features (N, D) - head = the outputs that the losses compare
//   backbone.<timm's>   head.<DINO's>   or   projector.*, predictor.* (BYOL)
#pragma once

#include <string>

#include "models/registry.h"
#include "models/self_supervised_heads.h"

namespace mono {

enum class SelfSupervisedHead { dino, byol };

struct SelfSupervisedConfig {
  std::string backbone = "deit_small";  // a name of the registry
  ModelOptions options;                 // of the backbone
  SelfSupervisedHead head = SelfSupervisedHead::dino;
  DinoHeadConfig dino;
  ByolConfig byol;
  bool predictor = true;  // BYOL's, which the teacher lacks
};

class SelfSupervised final : public Model {
 public:
  explicit SelfSupervised(const SelfSupervisedConfig& config);

  // (N, D) of images (N,H,W,channels).
  Variable features(const Variable& images, const ForwardContext& context) const;
  // What follows the features: DINO's head, or BYOL's projector. BYOL's batch norms take a
  // segment's own statistics: a view is a segment.
  Variable project(const Variable& features, const ForwardContext& context) const;
  // BYOL's predictor behind the projector.
  Variable predict(const Variable& projection, const ForwardContext& context) const;

  // `embedding` is the features; there are no logits.
  ModelOutput forward(const Variable& images, const ForwardContext& context,
                      const BatchHead& batch_head) const override;

  int width() const { return backbone_->features(); }

 private:
  std::unique_ptr<Backbone> backbone_;
  std::unique_ptr<DinoHead> head_;
  std::unique_ptr<ByolProjector> projector_;
  std::unique_ptr<ByolPredictor> predictor_;
};

}  // namespace mono
