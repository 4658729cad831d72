#include "train/explain/explained.h"

#include <fmt/format.h>

#include <limits>

#include "train/data/published.h"
#include "train/recipe_keys.h"

namespace mono::explained {

report::Page page_of(const std::string& title, const TrainedRun& run) {
  const Recipe& recipe = run.setup->recipe;
  report::Page page(title);
  page.badge(recipe.name);
  if (recipe.name.starts_with("smoke/")) page.badge("smoke scale", report::Badge::caution);
  const bool cdcl = recipe.name.find("cdcl/") != std::string::npos;
  switch (data_scale(run.setup->dataset, cdcl)) {
    case DataScale::full:
      break;
    case DataScale::partial:
      page.badge("other data than the papers'", report::Badge::caution);
      break;
    case DataScale::synthetic:
      page.badge("synthetic data", report::Badge::caution);
      break;
  }
  page.badge("one run, one seed", report::Badge::caution);
  return page;
}

void add_origin(report::Page& page, const TrainedRun& run, const std::string& images,
                const std::string& command) {
  const Recipe& recipe = run.setup->recipe;
  page.section("Where this comes from");
  page.definitions({{"Recipe", fmt::format("{}, hash {}", recipe.name, run.recipe_hash)},
                    {"Seed", fmt::to_string(recipe.seed)},
                    {"Weights", fmt::format("after {} optimiser steps", run.step)},
                    {"Images", images}});
  page.paragraph("To make this page again:");
  page.code(command);
  page.note(
      "One run says what happened in it. Another seed gives other numbers: before you rely on a "
      "difference, look at several runs (reproduce --seeds).",
      report::Badge::caution);
}

Json numbers_of(const char* what, const TrainedRun& run) {
  const Recipe& recipe = run.setup->recipe;
  Json json = Json::object();
  json["format_version"] = 1;
  json["explains"] = what;
  json["recipe"] = recipe.name;
  json["recipe_hash"] = run.recipe_hash;
  json["seed"] = recipe.seed;
  json["step"] = run.step;
  return json;
}

std::string percent(const std::optional<Share>& share) {
  return share && share->images > 0 ? percent(share->value()) : "-";
}
double in_percent(const std::optional<Share>& share) {
  return share && share->images > 0 ? 100 * share->value()
                                    : std::numeric_limits<double>::quiet_NaN();
}
Json fraction(const std::optional<Share>& share) {
  return share && share->images > 0 ? Json(share->value()) : Json();
}
std::string number(double value) {
  return report::short_text(value, 3);
}

std::string stages_of(const std::vector<std::string>& names) {
  struct Stage {
    std::string name;
    size_t first, last;
  };
  std::vector<Stage> stages;
  for (size_t i = 0; i < names.size(); ++i) {
    std::string_view name = names[i];
    for (const std::string_view prefix : {"backbone.", "features."})
      if (name.starts_with(prefix)) name.remove_prefix(prefix.size());
    name = name.substr(0, name.find('.'));
    if (stages.empty() || stages.back().name != name)
      stages.push_back({std::string(name), i + 1, i + 1});
    stages.back().last = i + 1;
  }
  std::string text;
  for (const Stage& stage : stages) {
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", stage.name, stage.first);
    if (stage.last > stage.first) text += fmt::format(" to {}", stage.last);
  }
  return text;
}

std::vector<double> layer_numbers(size_t n) {
  std::vector<double> numbers;
  for (size_t i = 1; i <= n; ++i) numbers.push_back(static_cast<double>(i));
  return numbers;
}

}  // namespace mono::explained
