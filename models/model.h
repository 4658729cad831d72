// A model: parameters, batch norms with running statistics, and a forward pass.
//
// Names are the PyTorch model's (torchvision), verbatim, so that weight files go both ways.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "nn/functional/convolution.h"
#include "nn/functional/dense_block.h"

namespace mono {

// What hangs on the embedding beside the classifier, for the experiment as target (RxRx1, A7).
struct BatchHead {
  enum class Mode { off, detached, reversed };
  Mode mode = Mode::detached;
  double lambda = 1.0;  // of gradient reversal
  Tensor factor = {};   // -lambda in device memory (one f64), where it changes; undefined: lambda
};

struct ModelOutput {
  Variable y;          // logits (N, classes)
  Variable batch;      // experiment logits (N, batch_classes); undefined where there is no head
  Variable embedding;  // (N, D): the classifier's input
};

class Model {
 public:
  virtual ~Model() = default;
  Model(const Model&) = delete;
  Model& operator=(const Model&) = delete;

  // images (N,H,W,channels) packed. Errors: an image size too small for the model (usage).
  virtual ModelOutput forward(const Variable& images, const ForwardContext& context,
                              const BatchHead& batch_head = {}) const = 0;

  // After construction: lays out parameters (masters f32, or f64 for verification), draws them
  // from the seed, and sets the running statistics to mean 0, variance 1; all on `device`, where
  // the model then computes.
  void initialise(DType master, uint64_t seed, Device device = Device::cpu);
  Device device() const { return arena_.weights().device(); }

  ParameterArena& arena() { return arena_; }
  const ParameterArena& arena() const { return arena_; }
  NormLayers& norms() { return norms_; }
  const NormLayers& norms() const { return norms_; }
  NormStatistics& running() { return running_; }
  const NormStatistics& running() const { return running_; }

 protected:
  Model() = default;
  ParameterArena arena_;
  NormLayers norms_;
  NormStatistics running_;
};

// A backbone maps images to features (N,H',W',features) that still have to be pooled.
class Backbone {
 public:
  virtual ~Backbone() = default;
  virtual int features() const = 0;
  // The pooled features (N, features). relu_before_pool: torchvision's order; false pools
  // DenseNet's last norm without a ReLU (the Kaggle solution of RxRx1's first author).
  virtual Variable pooled(const Variable& images, const ForwardContext& context,
                          bool relu_before_pool) const = 0;
};

// What constructors register parameters with: an arena, the norms, and a name prefix.
struct ModelBuilder {
  ParameterArena& arena;
  NormLayers& norms;
  std::string prefix;  // "" or e.g. "backbone."
  Init convolution_init = Init::kaiming_normal_fan_in;

  const Parameter* convolution(const std::string& name, int K, int R, int C) {
    return &arena.add(prefix + name + ".weight", {K, R, R, C}, convolution_init);
  }
  const NormLayer* norm(const std::string& name, int channels) {
    return &norms.add(arena, prefix + name, channels);
  }
};

}  // namespace mono
