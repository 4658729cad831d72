#include "train/evaluate/reproduce_cdcl.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "kernels/base/suggest.h"
#include "train/checkpoint.h"
#include "train/device.h"
#include "train/evaluate/table1.h"
#include "train/evaluate/views_evaluation.h"
#include "train/run_directory.h"
#include "train/run_weights.h"

namespace mono {
namespace {

constexpr const char* kUntrained = "untrained";
constexpr const char* kHistogram = "intensity-histogram";

struct TableRows {
  const char* name;
  std::vector<std::string> methods;
};
const std::vector<TableRows>& tables() {
  static const std::vector<TableRows> all = {
      {"cdcl/table1",
       {kUntrained, kHistogram, "supervised", "ssl-dino", "ssl-byol", "ssl-dino-cb", "ssl-byol-cb",
        "cdcl"}},
      {"cdcl/table3", {kUntrained, kHistogram, "ssl-byol-bl", "ssl-dino-bl"}}};
  return all;
}

bool is_floor(const std::string& method) {
  return method == kUntrained || method == kHistogram;
}

std::string recipe_of(const std::string& table, const std::string& method, bool smoke) {
  return (smoke ? "smoke/" : "") + (is_floor(method) ? "controls/" : table + "/") + method;
}

std::filesystem::path run_folder(const ReproduceOptions& options, const CdclMethod& method,
                                 const GridPoint& point, int64_t fold, int64_t seed) {
  std::filesystem::path folder = options.out / method.name;
  if (!point.name.empty()) folder /= point.name;
  return folder / fmt::format("fold-{}", fold) / fmt::format("seed-{}", seed);
}

// A floor has no hyper-parameters to search.
std::vector<GridPoint> points_of(const ReproduceOptions& options, const CdclMethod& method) {
  return method.floor ? std::vector<GridPoint>(1) : grid_points(options.grid);
}

int train_one(const ReproduceOptions& options, const CdclMethod& method, const GridPoint& point,
              int64_t fold, int64_t seed) {
  TrainOptions train;
  train.recipe = method.recipe;
  train.sets = options.sets;
  train.sets.insert(train.sets.end(), point.sets.begin(), point.sets.end());
  train.sets.push_back(fmt::format("data.fold={}", fold));
  train.sets.push_back(fmt::format("seed={}", seed));
  // A floor learns nothing and starts from nothing that was learnt.
  if (method.floor)
    train.sets.insert(train.sets.end(),
                      {"train.epochs=0", "model.weights=''", "model.init_from=''"});
  train.data = options.data;
  train.cache = options.cache;
  train.out = run_folder(options, method, point, fold, seed);
  train.resume = true;
  train.compute = options.compute;
  return run_train(train);
}

// The best validation accuracy of a run.
double validation_of(const std::filesystem::path& run) {
  const LoadedCheckpoint newest = load_last_checkpoint(run);
  const auto validation = newest.state["more"].find("validation");
  if (!validation)
    fail(ErrorKind::usage,
         "{}: was not validated, so that --grid has nothing to choose by; the recipe needs "
         "validation.every_epochs and validation images (data.fold, data.validation_experiments)",
         run.string());
  return (*validation)["best_accuracy"].number();
}

// The point with the best mean validation accuracy, the first of equals.
GridPoint choose(const ReproduceOptions& options, const CdclMethod& method) {
  const std::vector<GridPoint> points = points_of(options, method);
  if (points.size() == 1) return points.front();
  size_t best = 0;
  double best_accuracy = -1;
  for (size_t i = 0; i < points.size(); ++i) {
    double sum = 0;
    for (const int64_t fold : method.folds)
      for (const int64_t seed : method.seeds)
        sum += validation_of(run_folder(options, method, points[i], fold, seed));
    fmt::print("{}, {}: validation k-NN {:.2f} %\n", method.name, points[i].name,
               100 * sum / static_cast<double>(method.folds.size() * method.seeds.size()));
    if (sum > best_accuracy) {
      best_accuracy = sum;
      best = i;
    }
  }
  return points[best];
}

CdclRow row_of(const ReproduceOptions& options, const CdclMethod& method, Device device) {
  const GridPoint point = choose(options, method);
  CdclRow row;
  row.method = method.name;
  row.floor = method.floor;
  row.chosen = point.name;
  if (!method.floor) row.paper = load_recipe(recipe_of(options.table, method.name, false)).paper;
  FeatureOptions where;
  where.device = device;
  for (const int64_t fold : method.folds)
    for (const int64_t seed : method.seeds)
      for (const auto& [column, value] :
           views_figures(run_folder(options, method, point, fold, seed), where))
        row.figures[column].push_back(value);
  return row;
}

std::string start_of(const ReproduceOptions& options, const std::vector<CdclMethod>& methods) {
  const Recipe::Model model = load_recipe(methods.back().recipe, options.sets).model;
  if (!model.weights.empty()) return model.weights;
  if (!model.init_from.empty()) return model.init_from;
  return "";
}

// Whether the methods are trained as their recipes say, but for the ImageNet weights.
bool is_untouched(const ReproduceOptions& options, const std::vector<CdclMethod>& methods) {
  return std::ranges::all_of(methods, [&](const CdclMethod& method) {
    if (method.floor) return true;
    const std::vector<std::string> differences =
        differing_keys(load_recipe(method.recipe), load_recipe(method.recipe, options.sets));
    return std::ranges::all_of(differences, [](const std::string& difference) {
      return difference.starts_with("model.weights:");
    });
  });
}

// Whether the screen has all of RXRX1-HUVEC.
bool is_complete_huvec(const Dataset& dataset) {
  constexpr int64_t kImages = 59'050, kExperiments = 24;
  const auto huvec = std::ranges::count_if(
      dataset.experiments, [](const std::string& name) { return name.starts_with("HUVEC"); });
  int64_t complete = 0;
  for (int site = 0; site < static_cast<int>(dataset.sites.size()); ++site)
    complete += dataset.sites[static_cast<size_t>(site)].cell_type == "HUVEC" &&
                dataset.sites[static_cast<size_t>(site)].sirna_id >= 0 && dataset.complete(site);
  return huvec == kExperiments && complete == kImages && dataset.num_classes == kRxrxClasses;
}

}  // namespace

const std::vector<std::string>& cdcl_tables() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> out;
    for (const TableRows& table : tables()) out.push_back(table.name);
    return out;
  }();
  return names;
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

std::vector<CdclMethod> cdcl_methods(const ReproduceOptions& options) {
  const auto table = std::ranges::find(tables(), options.table, &TableRows::name);
  MONO_CHECK(table != tables().end(), "no table {}", options.table);
  for (const std::string& method : options.methods)
    if (std::ranges::find(table->methods, method) == table->methods.end())
      fail(ErrorKind::usage, "--methods: '{}' is no row of {}{}; the rows are {}", method,
           options.table, did_you_mean(method, table->methods), fmt::join(table->methods, ", "));
  std::vector<CdclMethod> methods;
  for (const std::string& name : table->methods) {
    if (!options.methods.empty() &&
        std::ranges::find(options.methods, name) == options.methods.end())
      continue;
    CdclMethod method{
        name, recipe_of(options.table, name, options.smoke), is_floor(name), {}, options.seeds};
    std::vector<std::string> sets = options.sets;
    if (method.floor) sets.push_back("train.epochs=0");
    const Recipe recipe = load_recipe(method.recipe, sets);
    for (int64_t i = 0; options.seeds.empty() && i < recipe.seeds; ++i)
      method.seeds.push_back(static_cast<int64_t>(recipe.seed) + i);
    // Of a rotation all folds, unless one was asked for.
    const bool one = std::ranges::any_of(
        options.sets, [](const std::string& set) { return set.starts_with("data.fold="); });
    if (recipe.data.fold == 0 || one)
      method.folds = {recipe.data.fold};
    else
      for (int fold = 1; fold <= 6; ++fold) method.folds.push_back(fold);
    methods.push_back(std::move(method));
  }
  return methods;
}

int execute_cdcl_table(const ReproduceOptions& options) {
  const std::vector<CdclMethod> methods = cdcl_methods(options);
  const Device device = choose_device(options.compute.device, options.compute.threads);
  make_folder(options.out);
  CdclTable table;
  table.name = (options.smoke ? "smoke/" : "") + options.table;
  table.folds = methods.front().folds;
  table.seeds = methods.front().seeds;
  table.start = start_of(options, methods);
  table.paper_scale = !options.smoke && !table.start.empty() && table.folds.size() == 6 &&
                      is_untouched(options, methods) &&
                      is_complete_huvec(open_dataset(options.data));
  size_t runs = 0, run = 0;
  for (const CdclMethod& method : methods)
    runs += method.folds.size() * method.seeds.size() * points_of(options, method).size();
  for (const CdclMethod& method : methods) {
    for (const GridPoint& point : points_of(options, method))
      for (const int64_t fold : method.folds)
        for (const int64_t seed : method.seeds) {
          fmt::print("\n[{} of {}] {}, fold {}, seed {}{}\n", ++run, runs, method.recipe, fold,
                     seed, point.name.empty() ? "" : ", " + point.name);
          std::fflush(stdout);
          if (const int code = train_one(options, method, point, fold, seed)) return code;
        }
    table.rows.push_back(row_of(options, method, device));
  }
  const std::string text = cdcl_table_markdown(table);
  write_file_durably((options.out / "table.json").string(), cdcl_table_json(table).text());
  write_file_durably((options.out / "table.md").string(), text);
  fmt::print("\n{}\nwritten: {} and table.json; the runs are beside it\n", text,
             (options.out / "table.md").string());
  return 0;
}

}  // namespace mono
