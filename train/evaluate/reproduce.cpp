#include "train/evaluate/reproduce.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdio>

#include "kernels/base/suggest.h"
#include "train/checkpoint.h"
#include "train/device.h"
#include "train/evaluate/evaluate.h"
#include "train/evaluate/reproduce_cdcl.h"
#include "train/evaluate/table1.h"
#include "train/json.h"
#include "train/recipe_keys.h"
#include "train/run_directory.h"

namespace mono {
namespace {

constexpr const char* kTable1 = "rxrx1/table1";
constexpr const char* kSplits[] = {"separated", "stratified"};

std::string table_name(const ReproduceOptions& options) {
  return (options.smoke ? "smoke/" : "") + std::string(kTable1);
}

std::filesystem::path run_folder(const ReproduceOptions& options, const std::string& method,
                                 const std::string& split, int64_t seed) {
  return options.out / method / split / fmt::format("seed-{}", seed);
}

// What a table needs of one evaluation.
struct Result {
  double accuracy = 0;
  std::optional<double> batch_accuracy;
};

// The result that an earlier call left, if it is that of the run's newest checkpoint.
std::optional<Result> earlier_result(const std::filesystem::path& run, const std::string& split,
                                     StatisticsMode mode) {
  const std::filesystem::path file =
      run / "evaluation" / fmt::format("{}-{}.json", split, name_of(mode));
  const std::vector<std::filesystem::path> checkpoints = list_checkpoints(run);
  if (checkpoints.empty() || !std::filesystem::exists(file)) return std::nullopt;
  const JsonView json = read_json_file(file.string());
  const std::string newest = fmt::format("step_{:08}", json["step"].integer());
  if (checkpoints.front().filename() != newest || json.find("accuracy") == std::nullopt ||
      json["recipe_hash"].string() != recipe_hash(read_run_recipe(run)))
    return std::nullopt;
  Result result;
  result.accuracy = json["accuracy"].number();
  if (const auto batch = json.find("batch_accuracy")) result.batch_accuracy = batch->number();
  return result;
}

Result evaluate_folder(const std::filesystem::path& folder, const std::string& split,
                       StatisticsMode mode, Device device) {
  if (const auto earlier = earlier_result(folder, split, mode)) return *earlier;
  const TrainedRun run = load_run(folder, split, {}, {}, device);
  const Evaluation evaluation = evaluate(run, mode);
  write_evaluation(folder, run, evaluation);
  if (evaluation.figures.overall.images == 0)
    fail(ErrorKind::data, "{}: no test image has a label, so that there is no accuracy",
         run.setup->dataset.root.string());
  Result result;
  result.accuracy = evaluation.figures.overall.value();
  if (has_batch_accuracy(run, evaluation))
    result.batch_accuracy = evaluation.figures.batch->value();
  return result;
}

// One method's runs. `control`: the same runs evaluated as what AdaBN is often mistaken for.
struct MethodRows {
  Table1Row row, control;
};

void add_seed(const ReproduceOptions& options, const Table1Method& method, int64_t seed,
              Device device, MethodRows& rows) {
  Table1Figures own, control;
  for (const std::string split : kSplits) {
    const std::filesystem::path folder = run_folder(options, method.name, split, seed);
    const Recipe recipe = read_run_recipe(folder);
    const StatisticsMode mode = statistics_mode({}, recipe);
    rows.row.statistics = name_of(mode);
    const auto enter = [&](const Result& result, Table1Figures& figures) {
      (split == kSplits[0] ? figures.separated : figures.stratified) = result.accuracy;
      if (split == kSplits[1]) figures.batch_accuracy = result.batch_accuracy;
    };
    enter(evaluate_folder(folder, split, mode, device), own);
    if (rows.control.control)
      enter(evaluate_folder(folder, split, StatisticsMode::experiment, device), control);
  }
  rows.row.seeds.push_back(own);
  if (rows.control.control) rows.control.seeds.push_back(control);
}

// Trains, or goes on with, one run. Returns train's exit code.
int train_one(const ReproduceOptions& options, const Table1Method& method, const std::string& split,
              int64_t seed) {
  TrainOptions train;
  train.recipe = method.recipe;
  train.sets = options.sets;
  train.sets.push_back("data.split=" + split);
  train.sets.push_back(fmt::format("seed={}", seed));
  train.data = options.data;
  train.cache = options.cache;
  train.out = run_folder(options, method.name, split, seed);
  train.resume = true;
  train.compute = options.compute;
  return run_train(train);
}

std::string list_of(const std::vector<std::string>& names) {
  return fmt::format("{}", fmt::join(names, ", "));
}

}  // namespace

std::vector<Table1Method> table1_methods(const ReproduceOptions& options) {
  if (options.table != kTable1) {
    std::vector<std::string> known = cdcl_tables();
    known.insert(known.begin(), kTable1);
    fail(ErrorKind::usage, "reproduce: there is no table '{}'{}; this version reproduces {}",
         options.table, did_you_mean(options.table, known), list_of(known));
  }
  if (!options.grid.empty())
    fail(ErrorKind::usage, "--grid chooses by validation, which {} has none of", kTable1);
  const std::vector<std::string> all = {"baseline", "gradient-reversal", "adabn",
                                        "adabn-gradient-reversal"};
  for (const std::string& method : options.methods)
    if (std::find(all.begin(), all.end(), method) == all.end())
      fail(ErrorKind::usage, "--methods: '{}' is no row of {}{}; the rows are {}", method, kTable1,
           did_you_mean(method, all), list_of(all));
  std::vector<Table1Method> methods;
  for (const std::string& name : all) {
    const auto& asked = options.methods;
    if (!asked.empty() && std::find(asked.begin(), asked.end(), name) == asked.end()) continue;
    Table1Method method{name, table_name(options) + "/" + name, options.seeds};
    const Recipe recipe = load_recipe(method.recipe, options.sets);
    for (int64_t i = 0; options.seeds.empty() && i < recipe.seeds; ++i)
      method.seeds.push_back(static_cast<int64_t>(recipe.seed) + i);
    methods.push_back(std::move(method));
  }
  return methods;
}

int execute_table1(const ReproduceOptions& options) {
  const std::vector<Table1Method> methods = table1_methods(options);
  const Device device = choose_device(options.compute.device, options.compute.threads);
  make_folder(options.out);
  Table1 table;
  table.name = table_name(options);
  table.seeds = methods.front().seeds;
  const StratifiedBy by = load_recipe(methods.front().recipe, options.sets).data.stratified_by;
  table.stratified_by = EnumNames<StratifiedBy>::list()[static_cast<size_t>(by)];
  table.paper_scale =
      !options.smoke && options.sets.empty() && is_complete_rxrx1(open_dataset(options.data));

  size_t runs = 0, run = 0;
  for (const Table1Method& method : methods) runs += 2 * method.seeds.size();
  for (const Table1Method& method : methods) {
    MethodRows rows;
    rows.row.method = rows.control.method = method.name;
    // The paper's figures stand with the recipes at paper scale.
    rows.row.paper = load_recipe(std::string(kTable1) + "/" + method.name).paper;
    rows.control.control = method.name == "baseline";
    rows.control.statistics = name_of(StatisticsMode::experiment);
    for (const int64_t seed : method.seeds) {
      for (const std::string split : kSplits) {
        fmt::print("\n[{} of {}] {}, {} split, seed {}\n", ++run, runs, method.recipe, split, seed);
        std::fflush(stdout);
        if (const int code = train_one(options, method, split, seed)) return code;
      }
      add_seed(options, method, seed, device, rows);
    }
    table.rows.push_back(rows.row);
    if (rows.control.control) table.rows.push_back(rows.control);
  }
  const std::string text = table1_markdown(table);
  write_file_durably((options.out / "table.json").string(), table1_json(table).text());
  write_file_durably((options.out / "table.md").string(), text);
  fmt::print("\n{}\nwritten: {} and table.json; the runs are beside it\n", text,
             (options.out / "table.md").string());
  return 0;
}

}  // namespace mono
