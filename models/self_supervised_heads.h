// The heads that self-supervised training hangs on a backbone's features; evaluation drops them.
//
// Names behind the builder's prefix are those of DINO (mlp.0, mlp.2, mlp.4, last_layer) and of a
// torch.nn.Sequential (0, 1, 3, 4).
#pragma once

#include "models/model.h"

namespace mono {

// DINO's head (Caron et al. 2021): a three-layer perceptron with GELU, rows of length one, and
// prototypes of length g:
//
//   linear - GELU - linear - GELU - linear - l2_normalise - weight-normed linear, no bias
//
// Outputs are cosines times g. Sizes: CDCL's; DINO has 2048, 256, 65536.
struct DinoHeadConfig {
  int hidden = 1024, bottleneck = 512, outputs = 4096;
  bool train_g = false;  // DINO's norm_last_layer is the opposite
};

class DinoHead {
 public:
  DinoHead(const ModelBuilder& builder, int features, const DinoHeadConfig& config = {});
  // x (N, features) -> (N, outputs)
  Variable forward(const Variable& x, const ForwardContext& context) const;

  int outputs() const { return config_.outputs; }
  // Without train_g, last_layer.weight_g stays 1: its gradient is zero, and as a norm it should be
  // spared weight decay, or be fixed altogether (AdamWOptions).
  const Parameter& weight_g() const { return *weight_g_; }
  const Parameter& weight_v() const { return *weight_v_; }

 private:
  DinoHeadConfig config_;
  const Parameter *weights_[3], *biases_[3];
  const Parameter *weight_g_, *weight_v_;
};

// BYOL's perceptron (Grill et al. 2020): linear - BN - ReLU - linear (- BN). Batch norm has the
// statistics of the context's segments: one a view, as each view is a forward pass of its own.
struct ByolConfig {
  int hidden = 4096, outputs = 256;
  bool output_norm = false;
};

class ByolMlp {
 public:
  ByolMlp(const ModelBuilder& builder, int features, const ByolConfig& config);
  // x (N, features) -> (N, outputs)
  Variable forward(const Variable& x, const ForwardContext& context) const;
  int outputs() const { return config_.outputs; }

 private:
  ByolConfig config_;
  const Parameter *weights_[2], *biases_[2];
  const NormLayer *norm_, *output_norm_ = nullptr;
};

// CDCL's projector has a batch norm on its output; the paper of BYOL has none.
class ByolProjector : public ByolMlp {
 public:
  ByolProjector(const ModelBuilder& builder, int features,
                const ByolConfig& config = {.output_norm = true})
      : ByolMlp(builder, features, config) {}
};
// From a projection to one of the same width.
class ByolPredictor : public ByolMlp {
 public:
  ByolPredictor(const ModelBuilder& builder, int width, int hidden = 4096)
      : ByolMlp(builder, width, {.hidden = hidden, .outputs = width}) {}
};

}  // namespace mono
