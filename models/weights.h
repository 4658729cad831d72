// Weights between the arena and files: the PyTorch model's names and layouts.
//
// Filters are (K,R,S,C) here and (K,C,R,S) there; everything else is the same. Buffers are
// <norm>.running_mean and <norm>.running_var; num_batches_tracked is optional, ignored, never
// written.
#pragma once

#include <string>
#include <vector>

#include "models/model.h"
#include "models/safetensors.h"

namespace mono {

// A tensor in PyTorch's layout, in the model's master precision widened to double or kept float.
struct NamedTensor {
  std::string name;
  std::vector<int64_t> shape;
  Tensor values;  // packed, flat, f32 or f64, on the CPU
};

// A parameter's piece of a flat array of the arena (weights, gradients, momentum), in PyTorch's
// layout.
NamedTensor to_pytorch(const ParameterArena& arena, const Tensor& array, const Parameter& parameter,
                       const std::string& name);
// The other way round; `values` f32 or f64 as the array.
void from_pytorch(const ParameterArena& arena, const Tensor& array, const Parameter& parameter,
                  const Tensor& values);

// Weights and running statistics, in registration order: what model.safetensors holds.
std::vector<NamedTensor> state_dict(const Model& model);
// Running statistics alone, each name behind `prefix`.
std::vector<NamedTensor> running_statistics(const Model& model, const std::string& prefix);

// As safetensors entries; the NamedTensors must outlive them.
std::vector<SafetensorsTensor> as_safetensors(const std::vector<NamedTensor>& tensors);

// How a file of another channel count enters a model's first convolution: channel c takes the
// file's channel c mod C_file ...
enum class StemRule {
  exact,   // it is an error
  repeat,  // ... times C_file / C: the expected response to equal channels stays what it was
           // (timm's rule for in_chans)
  tile,    // ... as it is (CDCL's code)
};

// Fills weights and running statistics from a file (F32 or F64). Any missing or extra name and any
// shape that does not fit is an error that lists them (data). DenseNet's old dotted names (norm.1
// for norm1, conv.2 for conv2) are read.
void load_weights(Model& model, const SafetensorsFile& file, StemRule rule = StemRule::exact);

// The same for the backbone of one of the papers' classifiers alone, from a file of torchvision's
// or timm's classifier (or its features): names are the model's without "backbone."; the file's own
// head (classifier.*, fc.*, head.*) is not read. Neck and heads keep their weights.
void load_backbone(Model& model, const SafetensorsFile& file, StemRule rule = StemRule::repeat);

}  // namespace mono
