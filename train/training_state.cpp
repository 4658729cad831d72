#include "train/training_state.h"

#include <algorithm>
#include <map>

#include "train/hash.h"

namespace mono {
namespace {

Tensor flat_on_host(const std::vector<float>& values) {
  const Tensor flat = Tensor::empty({static_cast<int>(values.size())}, DType::f32);
  std::ranges::copy(values, flat.data<float>());
  return flat;
}

std::vector<int64_t> shape_of(const Tensor& tensor) {
  std::vector<int64_t> shape;
  for (int i = 0; i < tensor.shape().rank(); ++i) shape.push_back(tensor.shape()[i]);
  return shape;
}

// One file's values, and what is wrong with them: every problem at once, before anything is
// written.
class Reader {
 public:
  explicit Reader(const SafetensorsFile& file) : file_(file) {
    for (const SafetensorsEntry& entry : file.entries()) unread_[entry.name] = &entry;
  }

  std::vector<float> take(const std::string& name, int64_t elements) {
    const auto found = unread_.find(name);
    if (found == unread_.end()) {
      problems_.push_back(fmt::format("'{}' is missing", name));
      return {};
    }
    unread_.erase(found);
    std::vector<float> values = file_.values<float>(name);
    if (static_cast<int64_t>(values.size()) != elements)
      problems_.push_back(
          fmt::format("'{}' has {} values, the run's {}", name, values.size(), elements));
    return values;
  }

  void finish() const {
    std::vector<std::string> all = problems_;
    for (const auto& [name, entry] : unread_) all.push_back(fmt::format("'{}' is unknown", name));
    if (all.empty()) return;
    constexpr size_t kShown = 10;
    std::string list;
    for (size_t i = 0; i < std::min(all.size(), kShown); ++i) list += "\n  " + all[i];
    if (all.size() > kShown) list += fmt::format("\n  ... and {} more", all.size() - kShown);
    fail(ErrorKind::data, "{}: is not the state of this recipe's training, {} differences:{}",
         file_.path(), all.size(), list);
  }

 private:
  const SafetensorsFile& file_;
  std::map<std::string, const SafetensorsEntry*> unread_;
  std::vector<std::string> problems_;
};

Tensor columns_of(const Tensor& table, const NormLayer& layer) {
  return table.reshape({static_cast<int>(table.elements())}).range(layer.offset, {layer.channels});
}

}  // namespace

void TrainingState::add_model(const std::string& prefix, Model& model) {
  models_.push_back({prefix, &model});
}

void TrainingState::add_array(const std::string& prefix, const ParameterArena& arena,
                              const Tensor& array) {
  arrays_.push_back({prefix, &arena, array});
}

void TrainingState::add_tensor(const std::string& name, const Tensor& tensor) {
  MONO_CHECK(tensor.packed() && tensor.dtype() == DType::f32, "{}: {}", name, tensor.to_string());
  tensors_.emplace_back(name, tensor);
}

std::vector<NamedTensor> TrainingState::model_tensors() const {
  std::vector<NamedTensor> out;
  for (const ModelEntry& entry : models_)
    for (NamedTensor& tensor : state_dict(*entry.model)) {
      tensor.name = entry.prefix + tensor.name;
      out.push_back(std::move(tensor));
    }
  return out;
}

std::vector<NamedTensor> TrainingState::optimizer_tensors() const {
  std::vector<NamedTensor> out;
  for (const ArrayEntry& entry : arrays_)
    for (const Parameter& p : entry.arena->parameters())
      out.push_back(to_pytorch(*entry.arena, entry.array, p, entry.prefix + p.name));
  for (const auto& [name, tensor] : tensors_)
    out.push_back({name, shape_of(tensor), tensor.to(Device::cpu)});
  return out;
}

void TrainingState::restore(const SafetensorsFile& model, const SafetensorsFile& optimizer) const {
  struct PieceOfArena {
    const ParameterArena* arena;
    Tensor array;
    const Parameter* parameter;
    std::vector<float> values;
  };
  struct Plain {
    Tensor to;
    std::vector<float> values;
  };
  std::vector<PieceOfArena> pieces;
  std::vector<Plain> plain;
  Reader from_model(model), from_optimizer(optimizer);
  for (const ModelEntry& entry : models_) {
    const ParameterArena& arena = entry.model->arena();
    for (const Parameter& p : arena.parameters())
      pieces.push_back(
          {&arena, arena.weights(), &p, from_model.take(entry.prefix + p.name, p.elements())});
    const NormStatistics& running = entry.model->running();
    for (const NormLayer& layer : entry.model->norms().layers())
      for (const auto& [table, buffer] : {std::pair{running.mean(), ".running_mean"},
                                          std::pair{running.variance(), ".running_var"}})
        plain.push_back(
            {columns_of(table, layer),
             from_model.take(entry.prefix + layer.name + buffer, int64_t{layer.channels})});
  }
  for (const ArrayEntry& entry : arrays_)
    for (const Parameter& p : entry.arena->parameters())
      pieces.push_back(
          {entry.arena, entry.array, &p, from_optimizer.take(entry.prefix + p.name, p.elements())});
  for (const auto& [name, tensor] : tensors_)
    plain.push_back({tensor, from_optimizer.take(name, tensor.elements())});
  from_model.finish();
  from_optimizer.finish();

  for (const PieceOfArena& piece : pieces)
    from_pytorch(*piece.arena, piece.array, *piece.parameter, flat_on_host(piece.values));
  for (const Plain& item : plain)
    item.to.copy_from(flat_on_host(item.values).reshape(item.to.shape()));
  for (const ModelEntry& entry : models_) entry.model->arena().weights_changed();
}

std::vector<TrainingState::TensorHash> TrainingState::hashes() const {
  std::vector<TensorHash> out;
  const auto enter = [&](const std::string& name, const Tensor& host) {
    out.push_back({name, hash64(host.raw(), static_cast<size_t>(host.bytes()))});
  };
  const auto enter_pieces = [&](const std::string& prefix, const ParameterArena& arena,
                                const Tensor& array) {
    const Tensor host = array.to(Device::cpu);
    for (const Parameter& p : arena.parameters()) enter(prefix + p.name, arena.view(host, p));
  };
  for (const ModelEntry& entry : models_) {
    const ParameterArena& arena = entry.model->arena();
    enter_pieces(entry.prefix, arena, arena.weights());
    enter(entry.prefix + "running_mean", entry.model->running().mean().to(Device::cpu));
    enter(entry.prefix + "running_var", entry.model->running().variance().to(Device::cpu));
  }
  for (const ArrayEntry& entry : arrays_) enter_pieces(entry.prefix, *entry.arena, entry.array);
  for (const auto& [name, tensor] : tensors_) enter(name, tensor.to(Device::cpu));
  return out;
}

std::string TrainingState::fingerprint() const {
  Hasher hasher;
  for (const ModelEntry& entry : models_)
    for (const Tensor& t : {entry.model->arena().weights(), entry.model->running().mean(),
                            entry.model->running().variance()}) {
      const Tensor host = t.to(Device::cpu);
      hasher.update(host.raw(), static_cast<size_t>(host.bytes()));
    }
  return hash_text(hasher.digest());
}

}  // namespace mono
