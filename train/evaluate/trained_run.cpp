#include "train/evaluate/trained_run.h"

#include <algorithm>

#include "kernels/base/suggest.h"
#include "models/weights.h"
#include "train/checkpoint.h"
#include "train/recipe_keys.h"
#include "train/run_directory.h"
#include "train/run_weights.h"

namespace mono {
namespace {

std::string name_of_split(SplitBy split) {
  return EnumNames<SplitBy>::list()[static_cast<size_t>(split)];
}

}  // namespace

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
                    Device device) {
  Recipe recipe = read_run_recipe(run);
  check_split(run, split, recipe);
  const RunInfo info = read_run_info(run);
  const LoadedCheckpoint checkpoint = load_run_checkpoint(run);
  // What training started from; the checkpoint replaces it.
  recipe.model.weights.clear();
  recipe.model.init_from.clear();

  TrainedRun loaded;
  loaded.step = checkpoint.step;
  loaded.recipe_hash = checkpoint.recipe_hash;
  // A cache belongs to its screen: another screen comes without the run's.
  const std::filesystem::path own_cache = data.empty() ? info.cache : std::string();
  loaded.setup = set_up(recipe, data.empty() ? std::filesystem::path(info.data) : data,
                        cache.empty() ? own_cache : cache, device);
  if (recipe.batch.form == BatchForm::views) {
    loaded.model = make_evaluated_model(*loaded.setup);
    load_evaluated(*loaded.model, recipe, checkpoint.model, true);
    loaded.has_classifier =
        checkpoint.step > 0 && (recipe.method == Method::supervised || recipe.probe.enabled);
  } else {
    loaded.model = make_model(*loaded.setup);
    load_weights(*loaded.model, checkpoint.model);
  }

  loaded.on_training_images =
      recipe.data.target == Target::experiment && recipe.data.split == SplitBy::separated;
  const Split& parts = loaded.setup->split;
  loaded.sites = loaded.on_training_images ? parts.train : parts.test;
  return loaded;
}

}  // namespace mono
