#include "train/evaluate/views_evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "train/data/csv.h"
#include "train/run_directory.h"
#include "train/run_weights.h"

namespace mono {
namespace {

namespace fs = std::filesystem;

constexpr int kFormatVersion = 4;  // 3 did not say which screen and statistics it was of

// Enters the column from the report, or the reason why it is not there.
void enter(const EmbeddingReport& report, const ViewsColumn& column, ViewsEvaluation& result) {
  const auto row = std::ranges::find(report.table, column.row, &ReportRow::key);
  MONO_CHECK(row != report.table.end(), "the report has no row {}", column.row);
  if (!row->left_out.empty()) {
    result.absent[column.key] = row->left_out;
    return;
  }
  const auto measure = std::ranges::find(row->measures, column.measure, &Measure::key);
  MONO_CHECK(measure != row->measures.end(), "the report has no measure {}", column.measure);
  if (!measure->value) {
    result.absent[column.key] = measure->left_out;
    return;
  }
  if (column.count.empty()) {
    result.figures[column.key] = *measure->value;
    result.counts[column.key] = measure->counts;
    for (const auto& [name, value] : row->counts.entries)
      result.counts[column.key][("correction_" + name).c_str()] = value;
    return;
  }
  for (const auto& [name, value] : measure->counts.entries)
    if (name == column.count) result.figures[column.key] = parse_json(value.line(), name).number();
}

// Share of the labelled test images that were answered right.
void enter_classifier(const RunFeatures& features, const Recipe& recipe, ViewsEvaluation& result) {
  if (features.answers.empty()) {
    result.absent["lin"] = "the run has no trained classifier";
    return;
  }
  Share share;
  for (size_t i = 0; i < features.classes.size(); ++i) {
    if (features.set.part[i] != Part::test || features.classes[i] < 0) continue;
    ++share.images;
    share.correct += features.answers[i] == features.classes[i];
  }
  if (share.images == 0) {
    result.absent["lin"] = "no test image has a label";
    return;
  }
  result.figures["lin"] = share.value();
  result.counts["lin"]["queries"] = share.images;
  result.counts["lin"]["classifier"] =
      recipe.method == Method::supervised ? "the supervised one" : "online probe";
}

std::string shown(const ViewsColumn& column, double value) {
  return column.percent ? fmt::format("{:>8.2f} %", 100 * value) : fmt::format("{:>8.3f}  ", value);
}

std::string fold_text(const Recipe& recipe) {
  return recipe.data.fold > 0 ? fmt::format(", fold {}", recipe.data.fold) : "";
}

}  // namespace

const std::vector<ViewsColumn>& views_columns() {
  const auto grit = [](const char* key, const char* title, const char* row, const char* measure,
                       const char* count = "") {
    return ViewsColumn{key, title, "table5", row, measure, count, false};
  };
  static const std::vector<ViewsColumn> columns = {
      {"lin", "Lin.", "table1", "", ""},
      {"lin_offline", "Lin. (offline)", "table1", "none", "linear_probe"},
      {"knn", "k-NN", "table1", "none", "knn"},
      {"z_norm_knn", "Z-norm k-NN (all)", "table1", "z_norm_all", "knn"},
      {"z_norm_knn_controls", "Z-norm k-NN (controls)", "table1", "z_norm_controls", "knn"},
      {"z_norm_knn_minibatch92", "Z-norm k-NN (minibatch92)", "table1", "z_norm_minibatch92",
       "knn"},
      {"kbet", "k-BET", "table1", "none", "kbet_test"},
      {"kbet_train", "k-BET train", "table4", "none", "kbet_train"},
      {"kbet_z_norm", "k-BET Z-norm", "table4", "z_norm_all", "kbet_test"},
      grit("grit_train", "grit train", "none", "grit_train"),
      grit("grit", "grit", "none", "grit_test"),
      grit("grit_z_norm", "grit Z-norm", "z_norm_all", "grit_test"),
      grit("grit_train_control_std", "grit train control std", "none", "grit_train", "control_std"),
      grit("grit_control_std", "grit control std", "none", "grit_test", "control_std"),
      grit("grit_z_norm_control_std", "grit Z-norm control std", "z_norm_all", "grit_test",
           "control_std"),
      {"moa_1nn", "1-NN MoA", "table2a", "none", "moa"},
      {"tvn_knn", "k-NN after TVN", "afterwards", "tvn", "knn"},
      {"combat_knn", "k-NN after ComBat", "afterwards", "combat", "knn"},
      {"whitening_knn", "k-NN after whitening", "afterwards", "whitening", "knn"},
      {"tvn_kbet", "k-BET after TVN", "afterwards", "tvn", "kbet_test"},
      {"combat_kbet", "k-BET after ComBat", "afterwards", "combat", "kbet_test"}};
  return columns;
}

std::string label_of(const Recipe& recipe) {
  std::set<fs::path> seen;  // a recipe.toml that was edited may lead in a circle
  Recipe at = recipe;
  while (!at.model.from_scratch) {
    const fs::path start = at.model.init_from;
    if (start.empty()) return "";
    if (!fs::exists(start / "recipe.toml") || !seen.insert(fs::canonical(start)).second)
      return "from a run that is gone";
    at = read_run_recipe(start);
  }
  return "from scratch";
}

bool has_views_evaluation(const Recipe& recipe) {
  return recipe.batch.form == BatchForm::views || recipe.data.fold > 0 ||
         recipe.data.validation_experiments > 0;
}

ViewsEvaluation evaluate_views(const RunFeatures& features, const Recipe& recipe) {
  ReportOptions options;
  options.knn = {.k = static_cast<int>(recipe.validation.k),
                 .temperature = recipe.validation.temperature};
  options.probe.seed = recipe.seed;
  const EmbeddingReport report = report_on(features.set, options);
  ViewsEvaluation result;
  result.bank_images = features.count(Part::train);
  result.images = features.count(Part::test);
  enter_classifier(features, recipe, result);
  for (const ViewsColumn& column : views_columns())
    if (!column.row.empty()) enter(report, column, result);
  return result;
}

fs::path write_views_evaluation(const fs::path& run, const RunFeatures& features,
                                const Recipe& recipe, const ViewsEvaluation& result) {
  const fs::path folder = run / "evaluation";
  make_folder(folder);
  const EmbeddingSet& set = features.set;
  std::string csv = "site_id,label,predicted,domain\n";
  for (size_t i = 0; i < set.part.size(); ++i) {
    if (set.part[i] != Part::test) continue;
    const auto number = [](int value) { return value < 0 ? "" : fmt::to_string(value); };
    csv += fmt::format("{},{},{},{}\n", csv_field(set.ids[i]), number(features.classes[i]),
                       features.answers.empty() ? "" : number(features.answers[i]),
                       csv_field(set.domain.names[static_cast<size_t>(set.domain.of[i])]));
  }
  write_file_durably((folder / "views.csv").string(), csv);
  Json json = Json::object();
  json["format_version"] = kFormatVersion;
  json["recipe"] = recipe.name;
  features.origin.enter(json);
  json["label"] = label_of(recipe);
  json["seed"] = recipe.seed;
  json["fold"] = recipe.data.fold;
  json["bank_images"] = result.bank_images;
  json["images"] = result.images;
  json["classes"] = set.label.count();
  const auto figure = [&](const std::string& column) {
    const auto found = result.figures.find(column);
    return found == result.figures.end() ? Json() : Json(found->second);
  };
  for (const ViewsColumn& column : views_columns()) json[column.key] = figure(column.key);
  json["accuracy"] = figure("lin");
  json["left_out"] = Json::object();
  for (const auto& [column, reason] : result.absent) json["left_out"][column] = reason;
  json["counts"] = Json::object();
  for (const auto& [column, counts] : result.counts) json["counts"][column] = Json(counts.entries);
  json["predictions"] = "views.csv";
  const fs::path file = folder / "views.json";
  write_file_durably(file.string(), json.text());
  return file;
}

std::string views_evaluation_text(const RunFeatures& features, const Recipe& recipe,
                                  const ViewsEvaluation& result) {
  const std::string label = label_of(recipe);
  std::string text = fmt::format(
      "{}{}, seed {}, step {}: {} test images, a bank of {}, {} classes{}\n\n", recipe.name,
      label.empty() ? "" : " (" + label + ")", recipe.seed, features.origin.step, result.images,
      result.bank_images, features.set.label.count(), fold_text(recipe));
  for (const ViewsColumn& column : views_columns()) {
    const auto found = result.figures.find(column.key);
    if (found == result.figures.end()) continue;
    const auto counts = result.counts.find(column.key);
    text += fmt::format("{:<28} {}   {}\n", column.title, shown(column, found->second),
                        counts == result.counts.end() ? "" : text_of(counts->second));
  }
  // A reason once, with the columns that it left out.
  std::vector<std::pair<std::string, std::string>> reasons;
  for (const ViewsColumn& column : views_columns()) {
    const auto absent = result.absent.find(column.key);
    if (absent == result.absent.end()) continue;
    const auto known =
        std::ranges::find(reasons, absent->second, &std::pair<std::string, std::string>::first);
    if (known == reasons.end())
      reasons.emplace_back(absent->second, column.title);
    else
      known->second += ", " + column.title;
  }
  for (const auto& [reason, titles] : reasons)
    text += fmt::format("left out: {}: {}\n", titles, reason);
  return text;
}

JsonView views_figures(const fs::path& run, const FeatureOptions& options) {
  const fs::path file = run / "evaluation" / "views.json";
  if (fs::exists(file)) {
    const JsonView json = read_json_file(file.string());
    if (json["format_version"].integer() == kFormatVersion &&
        origin_of(run, options).is_that_of(json))
      return json;
  }
  const Recipe recipe = read_run_recipe(run);
  const RunFeatures features = features_of(run, options);
  return read_json_file(
      write_views_evaluation(run, features, recipe, evaluate_views(features, recipe)).string());
}

}  // namespace mono
