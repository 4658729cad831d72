#include "train/train_checkpoint.h"

#include "models/weights.h"
#include "train/hash.h"
#include "train/version.h"

namespace mono {
namespace {

constexpr const char* kMomentum = "momentum.";

// Sites and labels that training sees: another screen would silently continue as another run.
std::string training_sites_hash(const RunSetup& setup) {
  Hasher hasher;
  for (const int i : setup.split.train) {
    const size_t site = static_cast<size_t>(i);
    hasher.update(fmt::format("{} {}\n", setup.dataset.sites[site].site_id, setup.label[site]));
  }
  return hash_text(hasher.digest());
}

std::vector<CheckpointTensor> borrowed(const std::vector<NamedTensor>& tensors) {
  std::vector<CheckpointTensor> out;
  for (const NamedTensor& t : tensors) out.push_back({t.name, t.shape, t.values.span<float>()});
  return out;
}

}  // namespace

std::string weights_fingerprint(const Model& model) {
  Hasher hasher;
  for (const Tensor& t :
       {model.arena().weights(), model.running().mean(), model.running().variance()}) {
    const Tensor host = t.to(Device::cpu);
    hasher.update(host.raw(), static_cast<size_t>(host.bytes()));
  }
  return hash_text(hasher.digest());
}

std::filesystem::path save_training(CheckpointStore& store, const RunSetup& setup,
                                    const Model& model, const TrainStep& step, int64_t steps_done) {
  const std::vector<NamedTensor> weights = state_dict(model);
  std::vector<NamedTensor> moments;
  for (const Parameter& p : model.arena().parameters())
    moments.push_back(to_pytorch(model.arena(), step.momentum(), p, kMomentum + p.name));
  CheckpointContent content;
  content.step = steps_done;
  content.model = borrowed(weights);
  content.optimizer = borrowed(moments);
  content.recipe_hash = recipe_hash(setup.recipe);
  content.state["epoch"] = steps_done / step.epoch_steps();
  content.state["step_in_epoch"] = steps_done % step.epoch_steps();
  content.state["total_steps"] = step.total_steps();
  content.state["seed"] = setup.recipe.seed;
  content.state["training_sites"] = training_sites_hash(setup);
  content.state["weights"] = weights_fingerprint(model);
  return store.save(content);
}

int64_t restore_training(const LoadedCheckpoint& checkpoint, const RunSetup& setup, Model& model,
                         TrainStep& step) {
  const JsonView& state = checkpoint.state;
  if (state["training_sites"].string() != training_sites_hash(setup))
    fail(ErrorKind::data,
         "{}: the run was trained on other sites than {} has for this recipe; resume with the "
         "screen that it was started with",
         checkpoint.path.string(), setup.dataset.root.string());
  load_weights(model, checkpoint.model);
  for (const Parameter& p : model.arena().parameters()) {
    const std::vector<float> values = checkpoint.optimizer.values<float>(kMomentum + p.name);
    if (static_cast<int64_t>(values.size()) != p.elements())
      fail(ErrorKind::data, "{}: '{}{}' has {} values, the parameter {}",
           checkpoint.optimizer.path(), kMomentum, p.name, values.size(), p.elements());
    const Tensor flat = Tensor::empty({static_cast<int>(values.size())}, DType::f32);
    std::copy(values.begin(), values.end(), flat.data<float>());
    from_pytorch(model.arena(), step.momentum(), p, flat);
  }
  const std::string fingerprint = weights_fingerprint(model);
  if (state["weights"].string() != fingerprint)
    fail(ErrorKind::data, "{}: the weights' fingerprint is {}, state.json says {}",
         checkpoint.path.string(), fingerprint, state["weights"].string());
  if (state["instruction_set"].string() != instruction_set())
    fmt::print(stderr,
               "warning: the run so far was computed with {} instructions, this machine uses {}: "
               "it goes on, but not with the bits of an undisturbed run\n",
               state["instruction_set"].string(), instruction_set());
  return checkpoint.step;
}

}  // namespace mono
