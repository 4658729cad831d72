// `train_rxrx reproduce`: a table of the paper, or (--dry-run) what it would take.
#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "train/commands.h"
#include "train/data/sampler.h"
#include "train/evaluate/reproduce.h"
#include "train/evaluate/reproduce_cdcl.h"
#include "train/setup.h"

namespace mono {
namespace {

std::string with_commas(int64_t value) {
  std::string digits = std::to_string(value);
  for (size_t at = digits.size(); at > 3; at -= 3) digits.insert(at - 3, ",");
  return digits;
}

std::string percent(const std::map<std::string, PaperFigure>& paper, const std::string& key) {
  const auto found = paper.find(key);
  if (found == paper.end()) return "-";
  const auto& [value, spread] = found->second;
  return spread ? fmt::format("{:.1f} ± {:.1f}", value, *spread) : fmt::format("{:.1f}", value);
}

// Images in the two parts and the steps that follow, for one method on one split.
struct Plan {
  int64_t training = 0, test = 0, steps_per_epoch = 0, steps = 0;
};

Plan plan_of(const Dataset& dataset, const Recipe& recipe) {
  SplitOptions options = split_options(recipe);
  options.include_incomplete = dataset.layout == Layout::none;  // a table alone
  options.include_unlabelled = true;  // test images of unknown class are classified all the same
  const Split split = make_split(dataset, options);
  std::vector<int64_t> images(dataset.experiments.size());
  for (const int site : split.train)
    ++images[static_cast<size_t>(dataset.sites[static_cast<size_t>(site)].experiment)];
  Plan plan;
  plan.training = static_cast<int64_t>(split.train.size());
  plan.test = static_cast<int64_t>(split.test.size());
  plan.steps_per_epoch = steps_per_epoch(recipe.batch, images);
  plan.steps = plan.steps_per_epoch * recipe.train.epochs;
  return plan;
}

int print_plan(const ReproduceOptions& options) {
  const std::vector<Table1Method> methods = table1_methods(options);
  const Dataset dataset = open_dataset(options.data);
  fmt::print("{}: {}, {} experiments, {} classes, {} images{}\n\n", options.table,
             options.data.string(), dataset.experiments.size(), with_commas(dataset.num_classes),
             with_commas(static_cast<int64_t>(dataset.sites.size())),
             dataset.layout == Layout::none ? " in the table (no image is there)" : "");
  fmt::print("{:<11} {:<24} {:>15} {:>11} {:>14} {:>11} {:>5} {:>15}\n", "split", "method",
             "training images", "test images", "steps an epoch", "steps a run", "runs",
             "paper, percent");
  int64_t runs = 0, steps = 0;
  for (const std::string split : {"separated", "stratified"})
    for (const Table1Method& method : methods) {
      std::vector<std::string> sets = options.sets;
      sets.push_back("data.split=" + split);
      const Recipe recipe = load_recipe(method.recipe, sets);
      const Plan plan = plan_of(dataset, recipe);
      const auto seeds = static_cast<int64_t>(method.seeds.size());
      fmt::print("{:<11} {:<24} {:>15} {:>11} {:>14} {:>11} {:>5} {:>15}\n", split, method.name,
                 with_commas(plan.training), with_commas(plan.test),
                 with_commas(plan.steps_per_epoch), with_commas(plan.steps), seeds,
                 percent(recipe.paper, split));
      runs += seeds;
      steps += seeds * plan.steps;
    }
  const auto unlabelled = std::count_if(dataset.sites.begin(), dataset.sites.end(),
                                        [](const Site& site) { return site.sirna_id < 0; });
  if (unlabelled > 0)
    fmt::print(
        "\n{} test images have no class in the table: the stratified split leaves them out.\n",
        with_commas(unlabelled));
  const Recipe::Batch batch = load_recipe(methods.front().recipe, options.sets).batch;
  fmt::print("\n{} runs, {} steps of {} images in all. Nothing was trained (--dry-run).\n",
             with_commas(runs), with_commas(steps), with_commas(batch.images()));
  return 0;
}

// Images, steps and runs of a table of CDCL; the floors train nothing.
int print_cdcl_plan(const ReproduceOptions& options) {
  const std::vector<CdclMethod> methods = cdcl_methods(options);
  const size_t points = grid_points(options.grid).size();
  const Dataset dataset = open_dataset(options.data);
  fmt::print("{}: {}, {} experiments, {} classes, {} images{}\n\n", options.table,
             options.data.string(), dataset.experiments.size(), with_commas(dataset.num_classes),
             with_commas(static_cast<int64_t>(dataset.sites.size())),
             dataset.layout == Layout::none ? " in the table (no image is there)" : "");
  fmt::print("{:<20} {:>4} {:>15} {:>10} {:>11} {:>14} {:>11} {:>5} {:>15}\n", "method", "fold",
             "training images", "validation", "test images", "steps an epoch", "steps a run",
             "runs", "Z-norm k-NN");
  int64_t runs = 0, steps = 0;
  for (const CdclMethod& method : methods)
    for (const int64_t fold : method.folds) {
      std::vector<std::string> sets = options.sets;
      sets.push_back(fmt::format("data.fold={}", fold));
      const Recipe recipe = load_recipe(method.recipe, sets);
      const Split split = split_of(recipe, dataset, dataset.layout == Layout::none);
      const auto count = [](const std::vector<int>& part) {
        return with_commas(static_cast<int64_t>(part.size()));
      };
      const int64_t per_epoch = static_cast<int64_t>(split.train.size()) / recipe.batch.anchors;
      const int64_t per_run = per_epoch * recipe.train.epochs;
      const auto here = static_cast<int64_t>(method.seeds.size() * (method.floor ? 1 : points));
      fmt::print("{:<20} {:>4} {:>15} {:>10} {:>11} {:>14} {:>11} {:>5} {:>15}\n", method.name,
                 fold, count(split.train), count(split.validation), count(split.test),
                 with_commas(per_epoch), with_commas(per_run), here,
                 percent(recipe.paper, "z_norm_knn"));
      runs += here;
      steps += here * per_run;
    }
  fmt::print("\n{} runs, {} steps in all. Nothing was trained (--dry-run).\n", with_commas(runs),
             with_commas(steps));
  return 0;
}

}  // namespace

int run_reproduce(const ReproduceOptions& options) {
  const bool cdcl = std::ranges::count(cdcl_tables(), options.table) > 0;
  if (options.dry_run) return cdcl ? print_cdcl_plan(options) : print_plan(options);
  if (options.out.empty())
    fail(ErrorKind::usage, "reproduce: --out is required, the folder for the runs and the table");
  return cdcl ? execute_cdcl_table(options) : execute_table1(options);
}

}  // namespace mono
