#include "train/reproduce/measure.h"

#include <fmt/format.h>

#include "train/evaluate/evaluate.h"
#include "train/evaluate/views_evaluation.h"
#include "train/recipe_keys.h"
#include "train/run_directory.h"
#include "train/run_weights.h"

namespace mono {
namespace {

JsonView views_evaluation_of(const std::filesystem::path& run, const MeasureOptions& options) {
  FeatureOptions features;
  features.statistics = options.statistics;
  features.device = options.device;
  return views_figures(run, features);
}

JsonView groups_evaluation_of(const std::filesystem::path& run, const MeasureOptions& options) {
  const Recipe recipe = read_run_recipe(run);
  const StatisticsMode mode = statistics_mode(options.statistics, recipe);
  const std::string split = EnumNames<SplitBy>::list()[static_cast<size_t>(recipe.data.split)];
  const std::filesystem::path file =
      run / "evaluation" / fmt::format("{}-{}.json", split, name_of(mode));
  if (std::filesystem::exists(file)) {
    const JsonView json = read_json_file(file.string());
    if (json["step"].integer() == load_run_checkpoint(run).step &&
        json["recipe_hash"].string() == recipe_hash(recipe))
      return json;
  }
  const TrainedRun trained = load_run(run, {}, {}, {}, options.device);
  return read_json_file(write_evaluation(run, trained, evaluate(trained, mode)).string());
}

}  // namespace

JsonView evaluation_of(const std::filesystem::path& run, const MeasureOptions& options) {
  return options.views ? views_evaluation_of(run, options) : groups_evaluation_of(run, options);
}

std::optional<double> figure_of(const JsonView& evaluation, const std::string& path,
                                std::string& why) {
  JsonView at = evaluation;
  for (size_t begin = 0; begin <= path.size();) {
    const size_t end = std::min(path.find('/', begin), path.size());
    const std::string key = path.substr(begin, end - begin);
    const auto next = at.find(key);
    if (!next) {
      const auto left_out = evaluation.find("left_out");
      const auto reason = left_out ? left_out->find(path) : std::nullopt;
      why = reason       ? reason->string()
            : begin == 0 ? "the evaluation has no such figure"
                         : fmt::format("the screen has no {}", key);
      return std::nullopt;
    }
    at = *next;
    begin = end + 1;
  }
  return at.number();
}

}  // namespace mono
