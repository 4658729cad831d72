#include "train/evaluate/views_evaluation.h"

#include <fmt/format.h>

#include <algorithm>

#include "train/data/csv.h"
#include "train/data/pair_sampler.h"
#include "train/evaluate/kbet.h"
#include "train/evaluate/knn.h"
#include "train/evaluate/view_features.h"
#include "train/evaluate/z_norm.h"
#include "train/run_directory.h"

namespace mono {
namespace {

// What is known of the rows of one part.
struct Rows {
  std::vector<int> label, domain;
  std::vector<uint8_t> is_control;
};

Rows rows_of(const RunSetup& setup, const std::vector<int>& sites) {
  const PairKeys keys = pair_keys(setup.dataset, setup.recipe.data.domain_key == DomainKey::plate
                                                     ? PairDomain::plate
                                                     : PairDomain::experiment);
  Rows rows;
  for (const int index : sites) {
    const size_t site = static_cast<size_t>(index);
    rows.label.push_back(setup.label[site]);
    rows.domain.push_back(keys.domain[site]);
    rows.is_control.push_back(setup.dataset.sites[site].is_control());
  }
  return rows;
}

// A figure, or why there is none: a part of the screen that is too small for it.
template <class F>
void enter(ViewsEvaluation& result, const std::string& column, F compute) {
  try {
    result.figures[column] = compute();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    result.absent[column] = error.what();
  }
}

void add_figures(const RunSetup& setup, ViewsEvaluation& result) {
  const Rows bank = rows_of(setup, setup.split.bank), test = rows_of(setup, setup.split.test);
  const KnnOptions options{.k = static_cast<int>(setup.recipe.validation.k),
                           .temperature = setup.recipe.validation.temperature};
  enter(result, "knn", [&] {
    return knn(result.bank, bank.label, result.test, test.label, options).accuracy.value();
  });
  const std::pair<ZNorm, const char*> modes[] = {{ZNorm::all, "z_norm_knn"},
                                                 {ZNorm::controls, "z_norm_knn_controls"},
                                                 {ZNorm::minibatch92, "z_norm_knn_minibatch92"}};
  for (const auto& [mode, column] : modes)
    enter(result, column, [&, mode = mode] {
      const ZNorm of_bank = mode == ZNorm::minibatch92 ? ZNorm::all : mode;
      return knn(z_norm(result.bank, bank.domain, bank.is_control, of_bank), bank.label,
                 z_norm(result.test, test.domain, test.is_control, mode), test.label, options)
          .accuracy.value();
    });
  enter(result, "kbet", [&] { return kbet(result.test, test.domain).score; });
  enter(result, "kbet_z_norm", [&] {
    return kbet(z_norm(result.test, test.domain, test.is_control, ZNorm::all), test.domain).score;
  });
  enter(result, "kbet_train", [&] { return kbet(result.bank, bank.domain).score; });
}

// Share of the labelled rows that were answered right.
double share_right(const std::vector<int>& answers, const std::vector<int>& labels) {
  Share share;
  for (size_t i = 0; i < answers.size(); ++i) {
    if (labels[i] < 0) continue;
    ++share.images;
    share.correct += answers[i] == labels[i];
  }
  return share.value();
}

}  // namespace

const std::vector<std::pair<std::string, std::string>>& views_columns() {
  static const std::vector<std::pair<std::string, std::string>> columns = {
      {"lin", "Lin."},
      {"knn", "k-NN"},
      {"z_norm_knn", "Z-norm k-NN (all)"},
      {"z_norm_knn_controls", "Z-norm k-NN (controls)"},
      {"z_norm_knn_minibatch92", "Z-norm k-NN (minibatch92)"},
      {"kbet", "k-BET"},
      {"kbet_z_norm", "k-BET Z-norm"},
      {"kbet_train", "k-BET train"}};
  return columns;
}

std::string label_of(const Recipe& recipe) {
  return recipe.model.from_scratch ? "from scratch" : "";
}

ViewsEvaluation evaluate_features(const RunSetup& setup, Features bank, Features test) {
  ViewsEvaluation result;
  result.bank = std::move(bank);
  result.test = std::move(test);
  result.absent["lin"] = "there is no classifier";
  add_figures(setup, result);
  return result;
}

ViewsEvaluation evaluate_views(const TrainedRun& run) {
  const RunSetup& setup = *run.setup;
  ViewsEvaluation result;
  std::vector<int>* const bank_answers = run.has_classifier ? &result.bank_answers : nullptr;
  std::vector<int>* const test_answers = run.has_classifier ? &result.test_answers : nullptr;
  result.bank = *view_features(setup, *run.model, setup.split.bank, "bank", bank_answers);
  result.test = *view_features(setup, *run.model, setup.split.test, "test", test_answers);
  if (run.has_classifier)
    result.figures["lin"] =
        share_right(result.test_answers, rows_of(setup, setup.split.test).label);
  else
    result.absent["lin"] = "the run has no trained classifier";
  add_figures(setup, result);
  return result;
}

std::filesystem::path write_views_evaluation(const std::filesystem::path& run_folder,
                                             const TrainedRun& run, const ViewsEvaluation& result) {
  const RunSetup& setup = *run.setup;
  const std::filesystem::path folder = run_folder / "evaluation";
  make_folder(folder);
  std::string csv = "site_id,label,predicted,domain\n";
  const Rows test = rows_of(setup, setup.split.test);
  for (size_t i = 0; i < setup.split.test.size(); ++i) {
    const Site& site = setup.dataset.sites[static_cast<size_t>(setup.split.test[i])];
    csv += fmt::format("{},{},{},{}\n", csv_field(site.site_id),
                       test.label[i] < 0 ? "" : fmt::to_string(test.label[i]),
                       result.test_answers.empty() ? "" : fmt::to_string(result.test_answers[i]),
                       csv_field(setup.dataset.experiments[static_cast<size_t>(site.experiment)]));
  }
  write_file_durably((folder / "views.csv").string(), csv);
  Json json = Json::object();
  json["format_version"] = 1;
  json["recipe"] = setup.recipe.name;
  json["recipe_hash"] = run.recipe_hash;
  json["label"] = label_of(setup.recipe);
  json["seed"] = setup.recipe.seed;
  json["fold"] = setup.recipe.data.fold;
  json["step"] = run.step;
  json["bank_images"] = result.bank.rows;
  json["images"] = result.test.rows;
  json["classes"] = setup.classes;
  for (const auto& [column, title] : views_columns()) {
    const auto found = result.figures.find(column);
    json[column] = found == result.figures.end() ? Json() : Json(found->second);
  }
  json["accuracy"] = json["lin"];
  json["predictions"] = "views.csv";
  const std::filesystem::path file = folder / "views.json";
  write_file_durably(file.string(), json.text());
  return file;
}

std::string views_evaluation_text(const TrainedRun& run, const ViewsEvaluation& result) {
  const Recipe& recipe = run.setup->recipe;
  const std::string label = label_of(recipe);
  std::string text =
      fmt::format("{}{}, seed {}, step {}: {} test images, a bank of {}, {} classes{}\n\n",
                  recipe.name, label.empty() ? "" : " (" + label + ")", recipe.seed, run.step,
                  result.test.rows, result.bank.rows, run.setup->classes,
                  recipe.data.fold > 0 ? fmt::format(", fold {}", recipe.data.fold) : "");
  for (const auto& [column, title] : views_columns()) {
    const auto found = result.figures.find(column);
    if (found != result.figures.end())
      text += fmt::format("{:<27} {:>6.2f} %\n", title, 100 * found->second);
    else
      text += fmt::format("{:<27} {:>8}  ({})\n", title, "-", result.absent.at(column));
  }
  return text;
}

}  // namespace mono
