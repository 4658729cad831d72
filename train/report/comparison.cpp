#include "train/report/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>
#include <utility>

#include "kernels/base/error.h"
#include "train/evaluate/statistics_mode.h"
#include "train/evaluate/views_evaluation.h"
#include "train/report/svg.h"

namespace mono::report {
namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

// The columns that are known, in the order in which they are shown; others follow by name.
const std::vector<ComparisonColumn>& known_columns() {
  static const std::vector<ComparisonColumn> columns = [] {
    std::vector<ComparisonColumn> all = {{"separated", "unseen experiments"},
                                         {"stratified", "stratified"},
                                         {"batch_generalisation", "batch generalisation"},
                                         {"batch_accuracy", "batch accuracy", true, true},
                                         {"training_images", "images of training"}};
    for (const ViewsColumn& column : views_columns())
      all.push_back({column.key, column.title, column.percent});
    return all;
  }();
  return columns;
}

// Columns by which methods are ranked: the first of those that most methods have.
constexpr const char* kHeadlines[] = {"separated", "z_norm_knn", "stratified",
                                      "knn",       "lin",        "training_images"};

bool is_spread_of_controls(const std::string& key) {
  return key.ends_with("_std");  // how much grit's null varies: a footnote, no result
}

std::string spaced(std::string key) {
  std::ranges::replace(key, '_', ' ');
  return key;
}

// What runs of one method have in common: their recipe, with what may differ evened out.
Recipe evened(const Recipe& recipe) {
  Recipe method = recipe;
  method.seed = 0;
  method.data.split = SplitBy::separated;
  method.data.fold = recipe.data.fold > 0 ? 1 : 0;
  method.model.init_from.clear();  // another run for each seed
  return method;
}

std::string own_statistics(const Recipe& recipe) {
  return name_of(statistics_mode("", recipe));
}

// "adabn" of "smoke/rxrx1/table1/adabn" where no two recipes end alike; else names without the
// folders that all of them share.
std::vector<std::string> short_names(const std::vector<std::string>& names) {
  std::map<std::string, std::set<std::string>> by_end;
  for (const std::string& name : names) by_end[name.substr(name.rfind('/') + 1)].insert(name);
  size_t shared = 0;
  if (!names.empty()) {
    const std::string& first = names.front();
    for (size_t slash = first.find('/'); slash != first.npos; slash = first.find('/', slash + 1)) {
      const std::string prefix = first.substr(0, slash + 1);
      if (!std::ranges::all_of(names, [&](const auto& n) { return n.starts_with(prefix); })) break;
      shared = prefix.size();
    }
  }
  std::vector<std::string> out;
  for (const std::string& name : names) {
    const std::string end = name.substr(name.rfind('/') + 1);
    out.push_back(end.empty() || by_end.at(end).size() > 1 ? name.substr(shared) : end);
  }
  return out;
}

struct Method {
  std::string name;
  Recipe recipe;           // evened out
  std::string statistics;  // of batch norm, its own; outside the recipe's hash
  std::string screen;      // its path
  std::string label;       // "from scratch"
  std::vector<const RunRecord*> runs;

  bool is(const Method& other) const {
    return name == other.name && statistics == other.statistics && screen == other.screen &&
           label == other.label && differing_keys(recipe, other.recipe).empty();
  }
};

std::vector<Method> methods_of(const std::vector<RunRecord>& runs) {
  std::vector<Method> methods;
  for (const RunRecord& run : runs) {
    if (!run.recipe) continue;
    Method method{run.recipe->name,
                  evened(*run.recipe),
                  own_statistics(*run.recipe),
                  run.info ? run.info->data : "",
                  run.label,
                  {}};
    auto found =
        std::ranges::find_if(methods, [&](const Method& other) { return other.is(method); });
    if (found == methods.end()) found = methods.insert(methods.end(), std::move(method));
    found->runs.push_back(&run);
  }
  return methods;
}

// "adabn (optim.lr: 0.1)": by the keys in which methods of one name differ.
void make_unique(std::vector<std::string>& titles, const std::vector<Method>& methods) {
  const std::vector<std::string> before = titles;
  for (size_t i = 0; i < titles.size(); ++i) {
    const auto first = static_cast<size_t>(std::ranges::find(before, before[i]) - before.begin());
    if (first == i) continue;
    const Method &a = methods[first], &b = methods[i];
    std::string difference;
    const auto add = [&](const std::string& text) {
      difference += (difference.empty() ? "" : ", ") + text;
    };
    for (const std::string& key : differing_keys(a.recipe, b.recipe)) {
      const size_t value = key.find(" in the run, ");
      add(key.substr(0, key.find(':')) + ": " +
          (value == key.npos ? "" : key.substr(value + 13, key.size() - value - 17)));
    }
    if (a.statistics != b.statistics) add(b.statistics + " statistics");
    if (a.screen != b.screen) add("on " + (b.screen.empty() ? "an unknown screen" : b.screen));
    titles[i] += difference.empty() ? fmt::format(" #{}", i + 1) : " (" + difference + ")";
  }
}

// Separated / stratified of the same seed.
void add_generalisation(ComparisonRow& row) {
  std::map<uint64_t, std::pair<double, double>> by_seed;
  for (size_t i = 0; i < row.runs.size(); ++i) {
    const uint64_t seed = row.runs[i]->recipe->seed;
    auto& [separated, stratified] = by_seed.try_emplace(seed, kNone, kNone).first->second;
    const auto value = [&](const char* key) {
      const auto found = row.evaluations[i]->figures.find(key);
      return found == row.evaluations[i]->figures.end() ? kNone : found->second;
    };
    if (std::isfinite(value("separated"))) separated = value("separated");
    if (std::isfinite(value("stratified"))) stratified = value("stratified");
  }
  for (const auto& [seed, figures] : by_seed)
    if (std::isfinite(figures.first) && figures.second > 0)
      row.values["batch_generalisation"].push_back(100 * figures.first / figures.second);
}

void add_evaluation(ComparisonRow& row, const RunRecord& run, const EvaluationRecord& evaluation) {
  row.runs.push_back(&run);
  row.evaluations.push_back(&evaluation);
  for (const auto& [key, value] : evaluation.figures)
    if (!is_spread_of_controls(key)) row.values[key].push_back(value);
  if (evaluation.split != "separated" || evaluation.by_cell_type.size() < 2) return;
  for (const auto& [cell_type, value] : evaluation.by_cell_type)
    row.values[cell_type].push_back(value);
}

// A row for the statistics that the method was trained for, and one for each other kind.
std::vector<ComparisonRow> rows_of(const Method& method, const std::string& title) {
  std::vector<std::string> statistics = {method.statistics};
  for (const RunRecord* run : method.runs)
    for (const EvaluationRecord& evaluation : run->evaluations)
      if (!evaluation.split.empty() &&
          std::ranges::find(statistics, evaluation.statistics) == statistics.end())
        statistics.push_back(evaluation.statistics);
  std::vector<ComparisonRow> rows;
  for (const std::string& kind : statistics) {
    ComparisonRow& row = rows.emplace_back();
    row.control = kind != statistics.front();
    row.title = row.control ? fmt::format("{}, {} statistics (control)", title, kind) : title;
    for (const RunRecord* run : method.runs)
      for (const EvaluationRecord& evaluation : run->evaluations)
        if (evaluation.split.empty() ? !row.control : evaluation.statistics == kind)
          add_evaluation(row, *run, evaluation);
    add_generalisation(row);
    if (!row.control) row.paper = method.runs.front()->recipe->paper;
    if (!row.control && row.runs.empty()) row.runs = method.runs;  // nothing evaluated yet
  }
  return rows;
}

// smoke/ recipes have no figures of the paper; those of the recipes that they rehearse do.
void add_paper(ComparisonRow& row) {
  const std::string& name = row.runs.front()->recipe->name;
  if (row.control || !row.paper.empty() || !name.starts_with("smoke/")) return;
  const std::string full = name.substr(6);
  if (!recipe_source(full).empty()) row.paper = load_recipe(full).paper;
}

bool is_untouched(const Recipe& recipe) {
  if (recipe_source(recipe.name).empty()) return false;
  const Recipe published = load_recipe(recipe.name);
  Recipe ours = evened(recipe);
  if (published.model.pretrained) ours.model.weights = published.model.weights;
  return differing_keys(evened(published), ours).empty() &&
         own_statistics(published) == own_statistics(recipe);
}

// The column that most methods have; of several the first of kHeadlines.
std::string headline_of(const std::vector<ComparisonRow>& rows) {
  std::string headline;
  int64_t most = 0;
  for (const char* key : kHeadlines) {
    const auto count = std::ranges::count_if(
        rows, [&](const ComparisonRow& row) { return !row.control && row.at(key).count > 0; });
    if (count <= most) continue;
    headline = key;
    most = count;
  }
  return headline;
}

std::optional<DataScale> scale_on(const Dataset* dataset, bool cdcl) {
  return dataset ? std::optional(data_scale(*dataset, cdcl)) : std::nullopt;
}

void add_screen(std::vector<Screen>& screens, const RunRecord& run) {
  if (!run.info) return;
  const std::string& path = run.info->data;
  const bool cdcl = run.recipe->name.find("cdcl/") != std::string::npos;
  const auto known = std::ranges::find(screens, path, &Screen::path);
  if (known == screens.end()) {
    screens.push_back(open_screen(path, cdcl));
  } else if (std::ranges::none_of(screens, [&](const Screen& screen) {
               return screen.path == path && screen.cdcl == cdcl;
             })) {
    Screen same = *known;
    same.cdcl = cdcl;
    same.scale = scale_on(same.dataset.get(), cdcl);
    screens.push_back(std::move(same));
  }
}

std::vector<ComparisonColumn> columns_of(const std::vector<ComparisonRow>& rows) {
  std::set<std::string> keys;
  for (const ComparisonRow& row : rows)
    for (const auto& [key, values] : row.values)
      if (spread_of(values).count > 0) keys.insert(key);
  std::vector<ComparisonColumn> columns;
  for (const ComparisonColumn& column : known_columns())
    if (keys.erase(column.key)) columns.push_back(column);
  for (const std::string& key : keys)
    columns.push_back({key, spaced(key), !key.starts_with("grit")});
  return columns;
}

bool all_full(const std::vector<Screen>& screens) {
  return !screens.empty() && std::ranges::all_of(screens, [](const Screen& screen) {
    return screen.scale == DataScale::full;
  });
}

std::string count_text(size_t count) {
  return figure_text(static_cast<double>(count), 0);
}

std::string what_is_measured(const std::string& headline) {
  if (headline == "separated") return "test images of experiments never seen in training";
  if (headline == "stratified") return "test images (unseen wells of experiments seen in training)";
  if (headline == "z_norm_knn") return "test images of unseen experiments, by k-NN after Z-norm";
  if (headline == "knn") return "test images of unseen experiments, by k-NN";
  if (headline == "training_images") return "images that it was trained on";
  return "test images, by its linear classifier";
}

}  // namespace

Spread ComparisonRow::at(const std::string& column) const {
  const auto found = values.find(column);
  return spread_of(found == values.end() ? std::vector<double>{} : found->second);
}

size_t ComparisonRow::most_runs() const {
  size_t most = 0;
  for (const auto& [key, list] : values) most = std::max(most, spread_of(list).count);
  return most;
}

Screen open_screen(const std::string& path, bool cdcl) {
  Screen screen;
  screen.path = path;
  screen.cdcl = cdcl;
  try {
    std::vector<Problem> problems;
    std::vector<std::string> notes;
    const auto dataset = std::make_shared<const Dataset>(open_dataset(path, problems, notes));
    screen.dataset = dataset;
    screen.scale = scale_on(dataset.get(), cdcl);
  } catch (const Error& error) {
    screen.problem = error.what();
  }
  return screen;
}

std::string Screen::text() const {
  const std::string name = std::filesystem::path(path).filename().string();
  if (!dataset) return fmt::format("a screen that is no longer at {}", path);
  const char* kind = scale == DataScale::synthetic ? "the synthetic screen"
                     : scale == DataScale::full    ? "the whole published screen"
                                                   : "the screen";
  return fmt::format("{} ‘{}’: {} sites of {} experiments, {} classes", kind, name,
                     count_text(dataset->sites.size()), count_text(dataset->experiments.size()),
                     count_text(static_cast<size_t>(dataset->num_classes)));
}

const ComparisonColumn* Comparison::column(const std::string& key) const {
  const auto found = std::ranges::find(columns, key, &ComparisonColumn::key);
  return found == columns.end() ? nullptr : &*found;
}

const ComparisonRow* Comparison::best() const {
  const ComparisonRow* best = nullptr;
  for (const ComparisonRow& row : rows) {
    if (row.control || row.at(headline).count == 0) continue;
    if (!best || row.at(headline).mean > best->at(headline).mean) best = &row;
  }
  return best;
}

std::string Comparison::our_name() const {
  if (paper_scale) return "ours";
  const bool synthetic = std::ranges::any_of(
      screens, [](const Screen& screen) { return screen.scale == DataScale::synthetic; });
  const bool partial = std::ranges::any_of(
      screens, [](const Screen& screen) { return screen.scale == DataScale::partial; });
  std::string name = synthetic ? "synthetic data" : partial ? "other data" : "data unknown";
  if (!obstacle.empty() && all_full(screens)) name = obstacle;
  return smoke ? name + ", smoke" : name;
}

std::vector<std::string> Comparison::lead() const {
  std::vector<std::string> out;
  const ComparisonRow* winner = best();
  if (!winner) {
    out.push_back("Nothing has been evaluated yet: train_rxrx evaluate RUN does it.");
  } else {
    const Spread won = winner->at(headline);
    const ComparisonRow* second = nullptr;
    const ComparisonRow* last = nullptr;
    for (const ComparisonRow& row : rows) {
      if (&row == winner || row.control || row.at(headline).count == 0) continue;
      if (!second || row.at(headline).mean > second->at(headline).mean) second = &row;
      if (!last || row.at(headline).mean < last->at(headline).mean) last = &row;
    }
    std::string text = fmt::format("{} names the right class for {} % of the {}", winner->title,
                                   won.text(), what_is_measured(headline));
    if (second) {
      const Spread next = second->at(headline);
      text += fmt::format(", {} points more than {} ({} %)", figure_text(won.mean - next.mean, 1),
                          second->title, next.text());
      if (last != second)
        text += fmt::format(" and {} more than {} ({} %)",
                            figure_text(won.mean - last->at(headline).mean, 1), last->title,
                            last->at(headline).text());
      text += ".";
      if (won.sd && next.sd && won.mean - next.mean <= std::max(*won.sd, *next.sd))
        text += fmt::format(" The lead over {} is within the spread over {} runs.", second->title,
                            won.count);
      else if (!won.sd)
        text += " One seed each: the spread is unknown.";
    } else {
      text += ".";
    }
    out.push_back(text);
  }
  std::string data;
  for (const Screen& screen : screens)
    if (data.find(screen.text()) == data.npos)
      data += (data.empty() ? "On " : "; ") + screen.text();
  if (!data.empty() && chance > 0) data += fmt::format(" (chance: {} %)", figure_text(chance, 1));
  if (!data.empty()) data += ".";
  if (smoke) data += " Recipes of smoke scale.";
  if (!paper_scale && winner)
    data += " These figures compare methods with each other; they say nothing about the paper's.";
  if (!data.empty()) out.push_back(data);
  return out;
}

std::string paper_obstacle(const RunRecord& run) {
  if (!run.label.empty()) return run.label;
  if (!run.recipe || !is_untouched(*run.recipe)) return "changed recipe";
  const Recipe::Model& model = run.recipe->model;
  if (model.pretrained && model.weights.empty() && model.init_from.empty()) return "from scratch";
  if (run.state != RunState::finished) return "unfinished run";
  const bool current = std::ranges::all_of(run.evaluations, &EvaluationRecord::up_to_date);
  return current ? "" : "outdated evaluation";
}

bool has_all_folds(const std::vector<const RunRecord*>& runs, int folds) {
  std::map<int64_t, int> count;
  for (const RunRecord* run : runs)
    if (run->recipe->data.fold > 0) ++count[run->recipe->data.fold];
  return count.empty() ||
         (std::cmp_equal(count.size(), folds) && std::ranges::all_of(count, [&](const auto& entry) {
            return entry.second == count.begin()->second;
          }));
}

Comparison compare(const std::vector<RunRecord>& runs) {
  Comparison out;
  const std::vector<Method> methods = methods_of(runs);
  std::vector<std::string> names;
  for (const Method& method : methods) names.push_back(method.name);
  std::vector<std::string> titles = short_names(names);
  for (size_t i = 0; i < methods.size(); ++i)
    if (!methods[i].label.empty()) titles[i] += " (" + methods[i].label + ")";
  make_unique(titles, methods);
  for (size_t i = 0; i < methods.size(); ++i)
    for (ComparisonRow& row : rows_of(methods[i], titles[i])) {
      add_paper(row);
      out.rows.push_back(std::move(row));
    }
  out.columns = columns_of(out.rows);
  out.headline = headline_of(out.rows);
  std::set<int64_t> classes;
  for (const ComparisonRow& row : out.rows)
    for (const EvaluationRecord* evaluation : row.evaluations)
      if (evaluation->classes > 0) classes.insert(evaluation->classes);
  if (classes.size() == 1) out.chance = 100.0 / static_cast<double>(*classes.begin());

  for (const RunRecord& run : runs) {
    if (!run.recipe) continue;
    out.smoke = out.smoke || run.recipe->name.starts_with("smoke/");
    if (out.obstacle.empty()) out.obstacle = paper_obstacle(run);
    if (out.obstacle.empty() && !run.info) out.obstacle = "data unknown";
    add_screen(out.screens, run);
  }
  for (const Method& method : methods) {
    const auto screen = std::ranges::find(out.screens, method.screen, &Screen::path);
    const bool replicates =
        screen != out.screens.end() && screen->dataset && is_cpg0004(screen->dataset->form);
    if (out.obstacle.empty() && !has_all_folds(method.runs, replicates ? 5 : 6))
      out.obstacle = "not all folds";
  }
  out.paper_scale = out.obstacle.empty() && !out.smoke && all_full(out.screens);
  return out;
}

Table comparison_table(const Comparison& comparison) {
  Table table;
  table.columns.push_back({"method", false});
  table.columns.push_back({"n", true});
  for (const ComparisonColumn& column : comparison.columns)
    table.columns.push_back({column.title, true});
  for (const ComparisonRow& row : comparison.rows) {
    std::vector<Cell> cells = {Cell(row.title), Cell(fmt::to_string(row.most_runs()))};
    for (const ComparisonColumn& column : comparison.columns) {
      const Spread value = row.at(column.key);
      bool best = value.count > 0 && comparison.rows.size() > 1;
      for (const ComparisonRow& other : comparison.rows) {
        const Spread theirs = other.at(column.key);
        if (theirs.count == 0) continue;
        best =
            best && (column.low_is_better ? value.mean <= theirs.mean : value.mean >= theirs.mean);
      }
      std::string text = value.text(column.percent ? 1 : 2);
      if (value.count != row.most_runs()) text += fmt::format(" (n = {})", value.count);
      cells.emplace_back(value.count ? text : "not evaluated", best          ? Tone::strong
                                                               : value.count ? Tone::plain
                                                                             : Tone::muted);
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

Table paper_table(const Comparison& comparison) {
  Table table;
  table.columns = {{"method", false},
                   {"figure", false},
                   {"paper", true},
                   {comparison.our_name(), true},
                   {"n", true}};
  if (comparison.paper_scale) table.columns.push_back({"difference", true});
  for (const ComparisonRow& row : comparison.rows)
    for (const ComparisonColumn& column : comparison.columns) {
      const auto paper = row.paper.find(column.key);
      const Spread ours = row.at(column.key);
      if (paper == row.paper.end() || ours.count == 0) continue;
      const int decimals = column.percent ? 1 : 2;
      std::string published = figure_text(paper->second.value, decimals);
      if (paper->second.spread) published += " ± " + figure_text(*paper->second.spread, decimals);
      table.rows.push_back(
          {row.title, column.title, published, ours.text(decimals), fmt::to_string(ours.count)});
      if (comparison.paper_scale)
        table.rows.back().push_back(
            difference_cell(ours.mean, paper->second.value, paper->second.spread));
    }
  return table;
}

}  // namespace mono::report
