// Parameters and the arena they live in: one flat allocation for the master weights and one for
// each further array of the same layout (gradients, momentum, a teacher's weights).
//
// The arena keeps parameters in backward order (the last registered first), each 256-byte aligned,
// so that one optimiser launch covers all of them and gradients become final from the front.
// Masters are float; double for verification runs. Every write to the weights bumps a version.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "kernels/base/segments.h"
#include "runtime/tensor.h"

namespace mono {

// How a fresh parameter is drawn (torchvision's rules; fan = K*R*S or C*R*S of a KRSC filter).
enum class Init {
  zeros,
  ones,
  kaiming_normal_fan_in,   // std sqrt(2 / fan_in): DenseNet convolutions
  kaiming_normal_fan_out,  // std sqrt(2 / fan_out): ResNet convolutions
  linear_uniform,          // U(-1/sqrt(fan_in), 1/sqrt(fan_in)): torch.nn.Linear, weight and bias
  truncated_normal_02,     // std 0.02; cut at +-2 absolute, 100 deviations: DeiT, DINO's head
};

class ParameterArena;

struct Parameter {
  std::string name;  // the PyTorch model's, e.g. features.conv0.weight
  Shape shape;       // filters (K,R,S,C), matrices (out, in), vectors (C)
  Init init;
  int fan_in = 0;                // of linear_uniform biases, whose shape does not tell
  bool is_norm_or_bias = false;  // may be excluded from weight decay
  int index = 0;                 // in registration order
  int64_t offset = 0;            // in the arena, elements
  ParameterArena* arena = nullptr;

  int64_t elements() const { return shape.elements(); }
  template <class M>
  const M* weights() const;
};

class ParameterArena {
 public:
  ParameterArena() = default;
  ParameterArena(const ParameterArena&) = delete;
  ParameterArena& operator=(const ParameterArena&) = delete;

  // Registration, before allocate(). The reference stays valid for the arena's life.
  Parameter& add(std::string name, const Shape& shape, Init init, bool is_norm_or_bias = false,
                 int fan_in = 0);
  // Lays the parameters out and allocates the masters (f32 or f64), cleared.
  void allocate(DType master, Device device = Device::cpu);

  DType master() const { return master_; }
  int64_t size() const { return size_; }  // elements of a flat array, padding included
  const std::deque<Parameter>& parameters() const { return parameters_; }
  std::deque<Parameter>& parameters() { return parameters_; }
  const Parameter* find(std::string_view name) const;  // null: no such parameter

  // The flat arrays (size()). A new array is cleared, padding stays zero.
  const Tensor& weights() const { return weights_; }
  Tensor new_array() const;
  // A parameter's piece of a flat array, with the parameter's shape.
  Tensor view(const Tensor& array, const Parameter& parameter) const;

  // Draws fresh weights; each parameter from its own Philox stream, so that the values do not
  // depend on which other parameters exist.
  void initialise(uint64_t seed);

  uint64_t version() const { return version_; }
  void weights_changed() { ++version_; }

  // Gradients. begin_gradients names the flat array that the next backward pass fills; each
  // parameter's first gradient overwrites its piece, later ones accumulate. finish_gradients clears
  // the pieces that nobody wrote.
  struct GradTarget {
    Tensor tensor;  // the parameter's piece, its shape
    GradMode mode;
  };
  void begin_gradients(const Tensor& array);
  GradTarget gradient(const Parameter& parameter);
  void finish_gradients();

 private:
  std::deque<Parameter> parameters_;
  Tensor weights_, gradients_;
  std::vector<bool> written_;
  DType master_ = DType::f32;
  int64_t size_ = 0;
  uint64_t version_ = 0;
};

template <class M>
const M* Parameter::weights() const {
  return arena->weights().data<M>() + offset;
}

// Receives parameters as their gradients become final (data parallelism sends them off).
class GradSink {
 public:
  virtual ~GradSink() = default;
  virtual void done(const Parameter& parameter) = 0;
};

}  // namespace mono
