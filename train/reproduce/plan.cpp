#include "train/reproduce/plan.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "kernels/base/suggest.h"
#include "train/checkpoint.h"
#include "train/data/folds.h"
#include "train/data/sampler.h"
#include "train/data/selection.h"
#include "train/evaluate/statistics_mode.h"
#include "train/idle_keys.h"
#include "train/recipe_keys.h"
#include "train/run_directory.h"
#include "train/setup.h"
#include "train/test_curve.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

template <class T>
bool contains(const std::vector<T>& list, const T& value) {
  return std::ranges::find(list, value) != list.end();
}

// However it is spelled: two paths of one place are equal.
fs::path in_full(const fs::path& path) {
  return fs::weakly_canonical(fs::absolute(path));
}

bool sets_key(const std::vector<std::string>& sets, std::string_view key) {
  return std::ranges::any_of(sets, [&](const std::string& set) {
    return set.starts_with(key) && set.substr(key.size()).starts_with("=");
  });
}

// ---- screens ----------------------------------------------------------------------------------

std::map<ScreenKind, Screen> open_screens(const ReproduceOptions& options) {
  std::map<ScreenKind, Screen> screens;
  const auto add = [&](const fs::path& data, const fs::path& cache) {
    Screen screen{data, cache, open_dataset(data)};
    const ScreenKind kind =
        is_cpg0004(screen.dataset.form) ? ScreenKind::cpg0004 : ScreenKind::rxrx1;
    screens.insert_or_assign(kind, std::move(screen));
  };
  if (!options.data.empty()) add(options.data, options.cache);
  if (!options.cpg0004.empty()) {
    add(options.cpg0004, options.cpg0004_cache);
    if (!screens.contains(ScreenKind::cpg0004))
      fail(ErrorKind::data, "--cpg0004 {}: is not a screen of CPG0004", options.cpg0004.string());
  }
  return screens;
}

// ---- what OUT has -----------------------------------------------------------------------------

struct Found {
  fs::path folder;
  std::string data;  // the screen that it was trained on
  bool finished = false;
  bool test_curve = false;  // it has one, or will have
};

// Damage is for training to report, which verifies what it resumes from.
bool is_finished(const fs::path& run) {
  const std::vector<fs::path> checkpoints = list_checkpoints(run);
  if (checkpoints.empty()) return false;
  try {
    const JsonView state = read_json_file((checkpoints.front() / "state.json").string());
    return state["step"].integer() == state["total_steps"].integer();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    return false;
  }
}

class Folders {
 public:
  // Everything below OUT/runs that is a run.
  explicit Folders(const fs::path& out) : root_(in_full(out / "runs")) {
    if (out.empty() || !fs::exists(root_)) return;
    for (auto entry = fs::recursive_directory_iterator(root_);
         entry != fs::recursive_directory_iterator(); ++entry) {
      // The last file that a run is begun with; without it training begins there afresh.
      if (!entry->is_directory() || !fs::exists(entry->path() / "recipe.toml")) continue;
      entry.disable_recursion_pending();
      const RunInfo info = read_run_info(entry->path());
      const bool finished = is_finished(entry->path());
      const bool curve = finished ? has_test_curve(entry->path())
                                  : read_run_recipe(entry->path()).test_curve.every_epochs > 0;
      taken_.insert(entry->path());
      found_[info.recipe_hash].push_back({entry->path(), info.data, finished, curve});
    }
    // Of equal runs a finished one is taken, whatever order the file system lists them in.
    for (auto& [hash, runs] : found_)
      std::ranges::sort(
          runs, {}, [](const Found& found) { return std::pair(!found.finished, found.folder); });
  }

  // The folder of a run: where it is already, else `wanted`, or a name beside it that is free.
  // Without the screen (`data` is empty) no run is known to be one of it.
  Found place(const PlannedRun& run, const fs::path& wanted, const fs::path& data) {
    const bool curve = run.recipe.test_curve.every_epochs > 0;
    for (const Found& found : found_[run.hash]) {
      if (data.empty()) break;
      if (in_full(found.data) != in_full(data))
        fail(ErrorKind::usage,
             "{}: was trained on {}, and --data is {}: figures of two screens would stand in one "
             "table; use another --out",
             found.folder.string(), found.data, data.string());
      if (!curve || found.test_curve) return found;
    }
    fs::path folder = root_ / wanted;
    if (taken_.contains(folder)) folder += "-" + run.hash.substr(0, 6);
    if (taken_.contains(folder)) folder += "-curve";  // trained once without, now with its curve
    taken_.insert(folder);
    return {folder, {}, false, false};
  }
  // Whether an earlier call left a run there.
  bool is_there(const fs::path& folder) const {
    return std::ranges::any_of(
        found_, [&](const auto& entry) { return contains_folder(entry.second, folder); });
  }

 private:
  static bool contains_folder(const std::vector<Found>& list, const fs::path& folder) {
    return std::ranges::find(list, folder, &Found::folder) != list.end();
  }

  fs::path root_;
  std::set<fs::path> taken_;
  std::map<std::string, std::vector<Found>> found_;  // by hash
};

// ---- rows to runs -----------------------------------------------------------------------------

class Planner {
 public:
  explicit Planner(const ReproduceOptions& options) : options_(options), folders_(options.out) {}

  Plan plan();

 private:
  PlannedExperiment plan_experiment(const Experiment& experiment);
  PlannedRow plan_row(const Experiment& experiment, const Row& row);
  std::vector<Replicate> replicates_of(const Experiment& experiment, const Row& row,
                                       const GridPoint& point);
  size_t run_of(const Experiment& experiment, const Row& row, const GridPoint& point,
                const std::string& split, int64_t fold, int64_t seed);
  void measure(PlannedRun& run);
  void place(PlannedRun& run, const fs::path& wanted);
  void check_methods(const std::vector<const Experiment*>& experiments) const;
  std::vector<std::string> grid_of(const Row& row, const std::vector<std::string>& sets) const;
  void refuse_unlabelled();
  Scale scale_of(const PlannedExperiment& experiment) const;
  std::string recipe_of(const Row& row) const {
    return (options_.smoke ? "smoke/" : "") + row.recipe;
  }
  // Rows differ in what they have: a key of one may be nothing to another.
  Recipe recipe_with(const Row& row, const std::vector<std::string>& sets) const {
    return load_recipe(recipe_of(row), sets_that_apply(recipe_of(row), sets));
  }
  void check_sets() const;

  const ReproduceOptions& options_;
  Folders folders_;
  Plan plan_;
  std::map<std::string, size_t> run_by_hash_;
};

void Planner::check_methods(const std::vector<const Experiment*>& experiments) const {
  std::vector<std::string> known;
  for (const Experiment* experiment : experiments)
    for (const Row& row : experiment->rows)
      if (!contains(known, row.name)) known.push_back(row.name);
  for (const std::string& method : options_.methods)
    if (!contains(known, method))
      fail(ErrorKind::usage, "--methods: '{}' is no row of {}{}; the rows are {}", method,
           options_.table, did_you_mean(method, known), fmt::join(known, ", "));
}

// Every --set must be something to a row at least.
void Planner::check_sets() const {
  std::vector<std::string> recipes, sets = options_.sets;
  bool stratified = false;
  for (const PlannedExperiment& planned : plan_.experiments) {
    for (const PlannedRow& row : planned.rows) recipes.push_back(recipe_of(*row.row));
    for (const Column& column : planned.experiment->columns)
      stratified |= column.split == "stratified";
  }
  if (recipes.empty()) return;
  if (stratified) sets.push_back("data.split=stratified");  // as those runs have it
  const std::vector<std::string> first = grid_points(options_.grid).front().sets;
  sets.insert(sets.end(), first.begin(), first.end());
  check_sets_apply(recipes, sets);
}

Plan Planner::plan() {
  const std::vector<const Experiment*> experiments = find_experiments(options_.table);
  check_methods(experiments);
  plan_.screens = open_screens(options_);
  for (const Experiment* experiment : experiments) {
    PlannedExperiment planned = plan_experiment(*experiment);
    // With --methods an experiment that has none of them was not asked for.
    if (!options_.methods.empty() && planned.rows.empty()) continue;
    plan_.experiments.push_back(std::move(planned));
  }
  check_sets();
  refuse_unlabelled();
  for (PlannedExperiment& experiment : plan_.experiments) experiment.scale = scale_of(experiment);
  return std::move(plan_);
}

PlannedExperiment Planner::plan_experiment(const Experiment& experiment) {
  PlannedExperiment planned;
  planned.experiment = &experiment;
  for (const Row& row : experiment.rows) {
    if (!options_.methods.empty() && !contains(options_.methods, row.name)) continue;
    if (options_.smoke && !row.rehearsed)
      planned.not_rehearsed.push_back(row.name);
    else
      planned.rows.push_back(plan_row(experiment, row));
  }
  return planned;
}

PlannedRow Planner::plan_row(const Experiment& experiment, const Row& row) {
  PlannedRow planned;
  planned.row = &row;
  if (row.beside_the_paper.empty()) planned.paper = load_recipe(row.recipe).paper;
  planned.statistics = name_of(statistics_mode({}, recipe_with(row, options_.sets)));
  std::vector<std::string> sets = options_.sets;
  sets.insert(sets.end(), row.sets.begin(), row.sets.end());
  planned.points = grid_points(grid_of(row, sets));
  for (const GridPoint& point : planned.points)
    planned.replicates.push_back(replicates_of(experiment, row, point));
  return planned;
}

// What of the grid is something to the row.
std::vector<std::string> Planner::grid_of(const Row& row,
                                          const std::vector<std::string>& sets) const {
  const Recipe recipe = recipe_with(row, sets);
  if (recipe.train.epochs == 0) return {};  // a floor has no hyper-parameters to search
  std::vector<std::string> grid;
  for (const std::string& item : options_.grid) {
    const std::string first = grid_points({item}).front().sets.front();
    std::vector<std::string> with_it = sets;
    with_it.push_back(first);
    if (contains(sets_that_apply(recipe_of(row), with_it), first)) grid.push_back(item);
  }
  const bool validates = recipe.validation.every_epochs > 0 &&
                         (recipe.data.fold > 0 || recipe.data.validation_experiments > 0);
  if (!grid.empty() && !validates)
    fail(ErrorKind::usage,
         "--grid: {} is not validated, so that there is nothing to choose a point by: set "
         "data.validation_experiments (or data.fold) and validation.every_epochs, or name other "
         "rows in --methods",
         recipe_of(row));
  return grid;
}

std::vector<Replicate> Planner::replicates_of(const Experiment& experiment, const Row& row,
                                              const GridPoint& point) {
  std::vector<std::string> sets = options_.sets;
  sets.insert(sets.end(), row.sets.begin(), row.sets.end());
  const Recipe recipe = recipe_with(row, sets);
  std::vector<int64_t> seeds = options_.seeds, folds = {recipe.data.fold};
  for (int64_t i = 0; options_.seeds.empty() && i < recipe.seeds; ++i)
    seeds.push_back(static_cast<int64_t>(recipe.seed) + i);
  // Of a rotation all folds, unless one was asked for; a rehearsal has seeds instead.
  if (recipe.data.fold > 0 && !options_.smoke && !sets_key(options_.sets, "data.fold")) {
    // The paper's; of a smaller screen, which has fewer, the others are named as not there.
    const int64_t last = experiment.screen == ScreenKind::cpg0004 ? kMaxReplicate : 6;
    for (int64_t fold = 2; fold <= last; ++fold) folds.push_back(fold);
  }
  std::vector<Replicate> replicates;
  for (const int64_t fold : folds)
    for (const int64_t seed : seeds) {
      if (experiment.replicates > 0 &&
          static_cast<int64_t>(replicates.size()) == experiment.replicates)
        break;
      Replicate replicate{fold, seed, {}};
      for (const Column& column : experiment.columns) {
        Source source;
        source.run = run_of(experiment, row, point, column.split, fold, seed);
        if (!column.over.empty())
          source.over = run_of(experiment, row, point, column.over, fold, seed);
        replicate.columns.push_back(source);
      }
      replicates.push_back(std::move(replicate));
    }
  return replicates;
}

size_t Planner::run_of(const Experiment& experiment, const Row& row, const GridPoint& point,
                       const std::string& split, int64_t fold, int64_t seed) {
  PlannedRun run;
  run.recipe_name = recipe_of(row);
  run.screen = experiment.screen;
  run.sets = options_.sets;
  run.sets.insert(run.sets.end(), row.sets.begin(), row.sets.end());
  if (!split.empty()) run.sets.push_back("data.split=" + split);
  if (fold > 0) run.sets.push_back(fmt::format("data.fold={}", fold));
  run.sets.push_back(fmt::format("seed={}", seed));
  run.sets.insert(run.sets.end(), point.sets.begin(), point.sets.end());
  run.sets = sets_that_apply(run.recipe_name, run.sets);
  // Points are chosen between by validation; only the chosen one ever sees test images.
  if (!point.sets.empty()) run.sets.push_back("test_curve.every_epochs=0");
  if (!row.starts_from.empty()) {
    const auto first = std::ranges::find(experiment.rows, row.starts_from, &Row::name);
    MONO_CHECK(first != experiment.rows.end(), "{}: no row {}", experiment.id, row.starts_from);
    run.after = run_of(experiment, *first, point, split, fold, seed);
    run.sets.push_back("model.weights=''");
    run.sets.push_back("model.from_scratch=false");
    run.sets.push_back(text_set("model.init_from", plan_.runs[*run.after].folder.string()));
  }
  run.recipe = load_recipe(run.recipe_name, run.sets);
  run.hash = recipe_hash(run.recipe);

  fs::path wanted = run.recipe_name;
  wanted /= fold > 0 ? fmt::format("fold-{}", fold)
                     : EnumNames<SplitBy>::list()[static_cast<size_t>(run.recipe.data.split)];
  if (!point.name.empty()) wanted /= point.name;
  wanted /= fmt::format("seed-{}", seed);

  if (const auto there = run_by_hash_.find(run.hash); there != run_by_hash_.end()) {
    PlannedRun& shared = plan_.runs[there->second];
    // Another experiment wants its test curve: recorded once, for both.
    if (shared.recipe.test_curve.every_epochs == 0 && run.recipe.test_curve.every_epochs > 0) {
      shared.sets.push_back(
          fmt::format("test_curve.every_epochs={}", run.recipe.test_curve.every_epochs));
      shared.recipe = load_recipe(shared.recipe_name, shared.sets);
      place(shared, wanted);
    }
    return there->second;
  }
  measure(run);
  place(run, wanted);
  const size_t index = plan_.runs.size();
  run_by_hash_[run.hash] = index;
  plan_.runs.push_back(std::move(run));
  return index;
}

// A run that has a folder keeps it, unless it is one of an earlier call that does not do.
void Planner::place(PlannedRun& run, const fs::path& wanted) {
  const auto screen = plan_.screens.find(run.screen);
  const fs::path data = screen == plan_.screens.end() ? fs::path() : screen->second.data;
  if (!run.folder.empty() && !folders_.is_there(run.folder)) return;
  const Found found = folders_.place(run, wanted, data);
  run.folder = found.folder;
  run.finished = found.finished;
}

// Images, steps and cost; or what is in the way.
void Planner::measure(PlannedRun& run) {
  const auto screen = plan_.screens.find(run.screen);
  if (screen == plan_.screens.end()) {
    run.obstacle = run.screen == ScreenKind::cpg0004
                       ? "needs a screen of CPG0004 (--cpg0004 DIR)"
                       : "needs a screen of RxRx1's form (--data DIR)";
    return;
  }
  const Recipe& recipe = run.recipe;
  Dataset selected;
  const Dataset* dataset = &screen->second.dataset;
  const bool table_only = !screen->second.has_images();
  try {
    if (recipe.data.selection) {
      selected = select_treatments(*dataset);
      dataset = &selected;
    }
    Split split;
    if (recipe.data.fold == 0 && recipe.data.validation_experiments == 0) {
      SplitOptions options = split_options(recipe);
      options.include_incomplete = table_only;
      options.include_unlabelled = true;  // named, and refused where their classes are needed
      split = make_split(*dataset, options);
    } else {
      split = split_of(recipe, *dataset, table_only);
    }
    std::vector<int64_t> images(dataset->experiments.size());
    for (const int site : split.train)
      ++images[static_cast<size_t>(dataset->sites[static_cast<size_t>(site)].experiment)];
    run.training = static_cast<int64_t>(split.train.size());
    run.validation = static_cast<int64_t>(split.validation.size());
    run.test = static_cast<int64_t>(split.test.size());
    run.unlabelled = std::ranges::count_if(split.test, [&](int site) {
      return dataset->sites[static_cast<size_t>(site)].sirna_id < 0;
    });
    run.steps_per_epoch = recipe.batch.form == BatchForm::views
                              ? run.training / recipe.batch.anchors
                              : steps_per_epoch(recipe.batch, images);
    if (run.steps_per_epoch == 0)
      run.obstacle = fmt::format("{} training images do not fill a step", run.training);
  } catch (const Error& error) {
    run.obstacle = error.what();
    return;
  }
  run.cost = cost_of(recipe, *dataset, screen->second.side());
}

// A run of which every figure needs classes that the table does not have is not trained.
void Planner::refuse_unlabelled() {
  std::vector<bool> useful(plan_.runs.size(), false);
  std::vector<std::string> reason(plan_.runs.size());
  for (const PlannedExperiment& planned : plan_.experiments)
    for (const PlannedRow& row : planned.rows)
      for (const auto& replicates : row.replicates)
        for (const Replicate& replicate : replicates)
          for (size_t c = 0; c < replicate.columns.size(); ++c) {
            const Source& source = replicate.columns[c];
            const std::string why =
                label_obstacle(planned.experiment->columns[c], plan_.runs[source.run]);
            if (why.empty() || !planned.experiment->needs_classes)
              useful[source.run] = true;
            else
              reason[source.run] = why;
          }
  for (size_t i = 0; i < plan_.runs.size(); ++i)
    if (!useful[i] && plan_.runs[i].obstacle.empty()) plan_.runs[i].obstacle = reason[i];
}

Scale Planner::scale_of(const PlannedExperiment& planned) const {
  Scale scale;
  scale.smoke = options_.smoke;
  scale.changed = !options_.grid.empty();
  const auto screen = plan_.screens.find(planned.experiment->screen);
  if (screen == plan_.screens.end()) {
    scale.data = DataScale::partial;
    return scale;
  }
  scale.data = data_scale(screen->second.dataset, planned.experiment->cdcl);
  for (const PlannedRow& row : planned.rows) {
    const Recipe asked = recipe_with(*row.row, options_.sets),
                 published = load_recipe(recipe_of(*row.row));
    // Outside of the hash, and decides figures all the same.
    scale.changed |= asked.domain.test_statistics != published.domain.test_statistics;
    const std::vector<std::string> differences = differing_keys(published, asked);
    scale.changed |= std::ranges::any_of(differences, [](const std::string& difference) {
      return !difference.starts_with("model.weights:") &&
             !difference.starts_with("model.from_scratch:");
    });
    scale.missing_weights |= asked.model.pretrained && asked.model.weights.empty();
  }
  return scale;
}

}  // namespace

int Screen::side() const {
  constexpr int kPublished = 512;
  return dataset.image_size > 0 ? dataset.image_size : kPublished;
}

std::string PlannedRun::place() const {
  const std::string where =
      recipe.data.fold > 0
          ? fmt::format("fold {}", recipe.data.fold)
          : EnumNames<SplitBy>::list()[static_cast<size_t>(recipe.data.split)] + " split";
  return fmt::format("{}, seed {}", where, recipe.seed);
}

std::vector<size_t> Plan::runs_of(const PlannedRow& row) const {
  std::vector<size_t> list;
  const auto add = [&](size_t run) {
    if (!contains(list, run)) list.push_back(run);
  };
  for (const auto& replicates : row.replicates)
    for (const Replicate& replicate : replicates)
      for (const Source& source : replicate.columns) {
        add(source.run);
        if (source.over) add(*source.over);
      }
  return list;
}

std::string label_obstacle(const Column& column, const PlannedRun& run) {
  if (run.unlabelled == 0 || column.figure == "batch_accuracy") return "";
  return fmt::format("{} of {} test images have no class in the table", run.unlabelled, run.test);
}

std::vector<GridPoint> grid_points(const std::vector<std::string>& grid) {
  std::vector<GridPoint> points(1);
  for (const std::string& item : grid) {
    const size_t equals = item.find('=');
    if (equals == item.npos || equals == 0 || equals + 1 == item.size())
      fail(ErrorKind::usage, "--grid '{}': KEY=VALUE,VALUE,... is expected, such as {}", item,
           "optim.lr=1e-4,3e-4");
    const std::string key = item.substr(0, equals);
    std::vector<GridPoint> product;
    for (const GridPoint& point : points)
      for (size_t at = equals; at != item.npos;) {
        const size_t end = item.find(',', at + 1);
        const std::string set = key + "=" + item.substr(at + 1, end - at - 1);
        GridPoint next = point;
        next.sets.push_back(set);
        next.name += (next.name.empty() ? "" : ",") + set;
        product.push_back(std::move(next));
        at = end;
      }
    points = std::move(product);
  }
  return points;
}

Plan make_plan(const ReproduceOptions& options) {
  return Planner(options).plan();
}

}  // namespace mono
