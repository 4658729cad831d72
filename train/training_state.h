// What carries over from one optimiser step to the next, by name: weights and running statistics,
// moments, a teacher, centres, a probe. A step lists it; checkpoints hold it, fingerprints hash it,
// and resuming puts it back. It only refers to tensors, in whatever device's memory they are.
#pragma once

#include <string>
#include <vector>

#include "models/weights.h"
#include "train/checkpoint.h"

namespace mono {

class TrainingState {
 public:
  // A model's parameters and running statistics, their names behind `prefix` ("teacher."):
  // model.safetensors.
  void add_model(const std::string& prefix, Model& model);
  // A flat array of an arena, such as a moment, by parameter: optimizer.safetensors.
  void add_array(const std::string& prefix, const ParameterArena& arena, const Tensor& array);
  // Any other tensor (f32, packed): optimizer.safetensors.
  void add_tensor(const std::string& name, const Tensor& tensor);

  // In PyTorch's names and layouts, on the host.
  std::vector<NamedTensor> model_tensors() const;
  std::vector<NamedTensor> optimizer_tensors() const;

  // Puts the values of a checkpoint's files into the tensors. Error(data) lists what is missing,
  // unknown or of another size; nothing has changed then.
  void restore(const SafetensorsFile& model, const SafetensorsFile& optimizer) const;

  // XXH3 of each tensor, padding and all, as it lies in memory: for comparing ranks.
  struct TensorHash {
    std::string name;
    uint64_t hash;
  };
  std::vector<TensorHash> hashes() const;

  // XXH3 over what model.safetensors holds, 16 hexadecimal digits.
  std::string fingerprint() const;

 private:
  struct ModelEntry {
    std::string prefix;
    Model* model;
  };
  struct ArrayEntry {
    std::string prefix;
    const ParameterArena* arena;
    Tensor array;
  };
  std::vector<ModelEntry> models_;
  std::vector<ArrayEntry> arrays_;
  std::vector<std::pair<std::string, Tensor>> tensors_;
};

}  // namespace mono
