#include "train/evaluate/trained_run.h"

#include <algorithm>
#include <utility>

#include "kernels/base/suggest.h"
#include "models/weights.h"
#include "train/checkpoint.h"
#include "train/ranks.h"
#include "train/recipe_keys.h"
#include "train/run_directory.h"
#include "train/run_weights.h"
#include "train/train_checkpoint.h"

namespace mono {
namespace {

std::string name_of_split(SplitBy split) {
  return EnumNames<SplitBy>::list()[static_cast<size_t>(split)];
}

// The run's network: its heads have the classes and experiments of the screen that it was trained
// on, which `setup` may not be of.
std::unique_ptr<Model> model_of(RunSetup& setup, const SafetensorsFile& weights) {
  const auto rows = [&](const char* head, int otherwise) {
    const SafetensorsEntry* entry = weights.find(head);
    return entry && !entry->shape.empty() ? static_cast<int>(entry->shape[0]) : otherwise;
  };
  const int classes = std::exchange(setup.classes, rows("head.weight", setup.classes));
  const int experiments =
      std::exchange(setup.experiments, rows("batch_head.weight", setup.experiments));
  std::unique_ptr<Model> model = make_model(setup);
  setup.classes = classes;
  setup.experiments = experiments;
  return model;
}

}  // namespace

void check_classes(const TrainedRun& run) {
  if (run.has_classifier || run.setup->recipe.batch.form == BatchForm::views) return;
  fail(ErrorKind::data,
       "{}: the run's classifier was not trained for this screen's {} classes; `embed` and `data "
       "report --run` need none",
       run.setup->dataset.root.string(), run.setup->classes);
}

void check_split(const std::filesystem::path& run, const std::string& asked, const Recipe& recipe) {
  const std::vector<std::string>& names = EnumNames<SplitBy>::list();
  if (asked.empty()) return;
  if (std::find(names.begin(), names.end(), asked) == names.end())
    fail(ErrorKind::usage, "--split: '{}' is neither separated nor stratified{}", asked,
         did_you_mean(asked, names));
  const std::string own = name_of_split(recipe.data.split);
  if (asked != own)
    fail(ErrorKind::usage,
         "{}: was trained with data.split = {}, and --split {} asks for the other split's test "
         "images, some of which were in its training; leave --split out, or train another run "
         "with --set data.split={}",
         run.string(), own, asked, asked);
}

TrainedRun load_run(const std::filesystem::path& run, const std::string& split,
                    const std::filesystem::path& data, const std::filesystem::path& cache,
                    Device device, Communicator& ranks) {
  Recipe recipe = read_run_recipe(run);
  check_split(run, split, recipe);
  const RunInfo info = read_run_info(run);
  const LoadedCheckpoint checkpoint = load_run_checkpoint(run);
  // A run that goes on while it is evaluated has another newest one in a moment.
  check_same(ranks, "checkpoint",
             fmt::format("step {}, hash {}", checkpoint.step, checkpoint.manifest_hash));
  // What training started from; the checkpoint replaces it.
  recipe.model.weights.clear();
  recipe.model.init_from.clear();

  if (std::error_code error; data.empty() && !std::filesystem::exists(info.data, error))
    fail(ErrorKind::data,
         "{}: the run's screen was {} (run.json), where there is nothing now; say where it is with "
         "--data",
         run.string(), info.data);

  TrainedRun loaded;
  loaded.step = checkpoint.step;
  loaded.recipe_hash = checkpoint.recipe_hash;
  // A cache belongs to its screen: another screen comes without the run's.
  const std::filesystem::path own_cache = data.empty() ? info.cache : std::string();
  loaded.setup = set_up(recipe, data.empty() ? std::filesystem::path(info.data) : data,
                        cache.empty() ? own_cache : cache, device,
                        [&] { ranks.moving("reading the screen"); });
  check_same_images(ranks, *loaded.setup);
  loaded.other_screen =
      checkpoint.state["training_sites"].string() != training_sites_hash(*loaded.setup);
  if (recipe.batch.form == BatchForm::views) {
    loaded.model = make_evaluated_model(*loaded.setup);
    load_evaluated(*loaded.model, recipe, checkpoint.model, true);
    loaded.has_classifier =
        checkpoint.step > 0 && (recipe.method == Method::supervised || recipe.probe.enabled);
  } else {
    loaded.model = model_of(*loaded.setup, checkpoint.model);
    load_weights(*loaded.model, checkpoint.model);
    loaded.has_classifier = checkpoint.model.entry("head.weight").shape[0] == loaded.setup->classes;
  }

  loaded.on_training_images =
      recipe.data.target == Target::experiment && recipe.data.split == SplitBy::separated;
  const Split& parts = loaded.setup->split;
  loaded.sites = loaded.on_training_images ? parts.train : parts.test;
  return loaded;
}

}  // namespace mono
