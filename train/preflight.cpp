// `train_rxrx check`: everything that can fail hours into a run, tried in a minute. The recipe, the
// screen's tables and the headers (--deep: the pixels) of its images, one optimiser step on a few
// images, a checkpoint written and read back, and what the whole run will need of memory, disk and
// time.
#include <fmt/format.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "kernels/base/thread_pool.h"
#include "nn/functional/convolution.h"
#include "train/commands.h"
#include "train/data/commands.h"
#include "train/data/sampler.h"
#include "train/device.h"
#include "train/progress.h"
#include "train/train_checkpoint.h"
#include "train/trial_step.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kTrialImages = 4;

double gigabytes(double bytes) {
  return bytes * 1e-9;
}

// `where`, or the nearest folder above it that there is.
fs::path nearest_folder(const fs::path& where) {
  fs::path there = fs::absolute(where);
  while (!fs::exists(there)) there = there.parent_path();
  if (!fs::is_directory(there))
    fail(ErrorKind::storage, "{}: is no folder; choose another --out", there.string());
  return there;
}

// A folder of its own below `where`, gone with this object.
class TrialFolder {
 public:
  explicit TrialFolder(const fs::path& where) {
    std::string name = (where / ".monolayer-check-XXXXXX").string();
    if (!mkdtemp(name.data()))
      fail(ErrorKind::storage, "{}: no folder can be made in it: {}", where.string(),
           std::strerror(errno));
    path_ = name;
  }
  ~TrialFolder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  TrialFolder(const TrialFolder&) = delete;
  TrialFolder& operator=(const TrialFolder&) = delete;
  const fs::path& path() const { return path_; }

 private:
  fs::path path_;
};

// One optimiser step on a single group of a few images; says what a real one will take.
void try_and_tell(const Recipe& recipe, RunSetup& setup, Model& model) {
  const TrialStep trial = try_a_step(setup, model, kTrialImages);
  const auto images = static_cast<double>(trial.images);
  const int64_t steps = steps_per_epoch(setup) * recipe.train.epochs;
  const double step_seconds = trial.seconds / images * static_cast<double>(recipe.batch.images());
  const double memory = trial.held_bytes + trial.activation_bytes / images *
                                               static_cast<double>(recipe.batch.images_of_group());
  fmt::print("step       ok: {} images, loss {:.4f}, gradient norm {:.3f}, {:.2f} s\n",
             trial.images, trial.figures.loss, trial.figures.gradient_norm, trial.seconds);
  fmt::print(
      "run        about {} for a step of {} images, {} for {} steps; about {:.2f} GB of memory on "
      "{}\n",
      duration_text(step_seconds), recipe.batch.images(),
      duration_text(step_seconds * static_cast<double>(steps)), steps, gigabytes(memory),
      name_of(setup.device));
}

// Saves and restores; returns the checkpoint's size in bytes.
double try_a_checkpoint(const fs::path& where, const RunSetup& setup, Model& model) {
  const TrialFolder folder(where);
  const RunDirectory run(folder.path());
  CheckpointStore store(run, 2);
  const std::unique_ptr<TrainStep> step = make_train_step(setup, model);
  const fs::path saved = save_training(store, setup, *step, 0);
  double bytes = 0;
  for (const auto& file : fs::directory_iterator(saved))
    bytes += static_cast<double>(file.file_size());
  const std::string before = step->state().fingerprint();
  model.arena().weights().zero();
  restore_training(load_checkpoint(saved), setup, *step);
  MONO_CHECK(step->state().fingerprint() == before, "a checkpoint changed the weights");
  return bytes;
}

// Reads every record that the run would; a damaged one ends it here.
void read_all(const RunSetup& setup) {
  const Split& split = setup.split;
  std::vector<int> sites;
  for (const std::vector<int>* part : {&split.bank, &split.train, &split.validation, &split.test})
    sites.insert(sites.end(), part->begin(), part->end());
  std::ranges::sort(sites);
  sites.erase(std::unique(sites.begin(), sites.end()), sites.end());
  const size_t bytes = setup.channels.size() * static_cast<size_t>(setup.images->height()) *
                       static_cast<size_t>(setup.images->width());
  Progress progress("check", static_cast<int64_t>(sites.size()), "sites");
  constexpr size_t kChunk = 256;
  for (size_t begin = 0; begin < sites.size(); begin += kChunk) {
    const size_t count = std::min(kChunk, sites.size() - begin);
    parallel_for(static_cast<int64_t>(count), [&](int64_t i, int) {
      std::vector<uint8_t> planes(bytes);
      setup.images->read(sites[begin + static_cast<size_t>(i)], setup.channels, planes.data());
    });
    progress.advance(static_cast<int64_t>(count));
  }
}

}  // namespace

int run_check(const PreflightOptions& options) {
  const Device device = choose_device(options.compute.device, options.compute.threads);
  set_kernel_choice(parse_kernel_choice(options.compute.kernels));
  const Recipe recipe = load_recipe(options.recipe, options.sets);
  const fs::path out = options.out.empty() ? fs::temp_directory_path() : options.out;
  const fs::path folder = nearest_folder(out);
  if (RunDirectory::without_writing(out).has_run()) check_same_recipe(out, recipe);
  fmt::print("recipe     ok: {}, hash {}\n", recipe.name, recipe_hash(recipe));

  const int damage =
      options.cache.empty() ? run_data_check({.data = options.data, .quick = !options.deep}) : 0;
  const std::unique_ptr<RunSetup> setup = set_up(recipe, options.data, options.cache, device);
  if (!options.cache.empty() && options.deep) read_all(*setup);
  const int64_t steps = steps_per_epoch(*setup);
  fmt::print(
      "data       {}: {} training and {} test images ({}), {} classes, {} experiments, {} steps an "
      "epoch; {} sites left out\n",
      damage ? "has problems" : "ok", setup->split.train.size(), setup->split.test.size(),
      name_of(recipe.data.split), setup->classes, setup->experiments, steps,
      setup->left_out.size());

  const std::unique_ptr<Model> model = make_model(*setup);
  const double checkpoint = try_a_checkpoint(folder, *setup, *model);
  const double needed = checkpoint * static_cast<double>(recipe.checkpoint.keep + 1);
  const auto available = static_cast<double>(fs::space(folder).available);
  fmt::print(
      "checkpoint ok: written and read back, {:.3f} GB; {:.3f} GB for {} and the next, {:.1f} "
      "GB free at {}\n",
      gigabytes(checkpoint), gigabytes(needed), recipe.checkpoint.keep, gigabytes(available),
      out.string());
  if (needed > available)
    fail(ErrorKind::storage,
         "{}: checkpoints need {:.3f} GB and {:.3f} GB are free; free some, lower checkpoint.keep, "
         "or "
         "choose another --out",
         out.string(), gigabytes(needed), gigabytes(available));

  try_and_tell(recipe, *setup, *model);
  if (damage && recipe.data.on_bad_image == OnBadImage::fail) return damage;
  fmt::print("ready to train\n");
  return 0;
}

}  // namespace mono
