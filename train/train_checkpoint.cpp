#include "train/train_checkpoint.h"

#include "train/hash.h"
#include "train/version.h"

namespace mono {
namespace {

std::vector<CheckpointTensor> borrowed(const std::vector<NamedTensor>& tensors) {
  std::vector<CheckpointTensor> out;
  for (const NamedTensor& t : tensors) out.push_back({t.name, t.shape, t.values.span<float>()});
  return out;
}

}  // namespace

// Another screen would silently continue as another run.
std::string training_sites_hash(const RunSetup& setup) {
  Hasher hasher;
  for (const int i : setup.split.train) {
    const size_t site = static_cast<size_t>(i);
    hasher.update(fmt::format("{} {}\n", setup.dataset.sites[site].site_id, setup.label[site]));
  }
  return hash_text(hasher.digest());
}

std::filesystem::path save_training(CheckpointStore& store, const RunSetup& setup, TrainStep& step,
                                    int64_t steps_done, const Json& more) {
  const TrainingState state = step.state();
  const std::vector<NamedTensor> weights = state.model_tensors();
  const std::vector<NamedTensor> moments = state.optimizer_tensors();
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
  content.state["weights"] = state.fingerprint();
  content.state["more"] = more;
  return store.save(content);
}

int64_t restore_training(const LoadedCheckpoint& checkpoint, const RunSetup& setup,
                         TrainStep& step) {
  const JsonView& saved = checkpoint.state;
  if (saved["training_sites"].string() != training_sites_hash(setup))
    fail(ErrorKind::data,
         "{}: the run was trained on other sites than {} has for this recipe; resume with the "
         "screen that it was started with",
         checkpoint.path.string(), setup.dataset.root.string());
  const TrainingState state = step.state();
  state.restore(checkpoint.model, checkpoint.optimizer);
  const std::string fingerprint = state.fingerprint();
  if (saved["weights"].string() != fingerprint)
    fail(ErrorKind::data, "{}: the weights' fingerprint is {}, state.json says {}",
         checkpoint.path.string(), fingerprint, saved["weights"].string());
  if (saved["instruction_set"].string() != instruction_set())
    fmt::print(stderr,
               "warning: the run so far was computed with {} instructions, this machine uses {}: "
               "it goes on, but not with the bits of an undisturbed run\n",
               saved["instruction_set"].string(), instruction_set());
  return checkpoint.step;
}

}  // namespace mono
