#include "train/reproduce/results_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace mono {
namespace {

using report::Badge;
using report::Cell;
using report::Page;
using report::Tone;

constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();

std::string title_of(const ResultRow& row) {
  std::string title = row.name;
  if (!row.beside_the_paper.empty()) title += ", " + row.beside_the_paper;
  if (!row.chosen.empty()) title += " [" + row.chosen + "]";
  return title;
}

// The rows that were measured in a column, best first.
std::vector<std::pair<const ResultRow*, MeanSd>> ranking(const Result& result,
                                                         const std::string& column) {
  std::vector<std::pair<const ResultRow*, MeanSd>> rows;
  for (const ResultRow& row : result.rows) {
    const std::vector<double> values = row.cells.at(column).there();
    if (!values.empty()) rows.emplace_back(&row, mean_sd(values));
  }
  std::ranges::stable_sort(rows, std::ranges::greater{},
                           [](const auto& row) { return row.second.mean; });
  return rows;
}

const Column& column_of(const Result& result, const std::string& key) {
  return *std::ranges::find(result.experiment->columns, key, &Column::key);
}

// What a newcomer reads first: which row is best, by how much, and on what data.
std::string lead_of(const Result& result) {
  if (result.experiment->ordered_by.empty()) return "";
  const Column& column = column_of(result, result.experiment->ordered_by.front());
  const auto rows = ranking(result, column.key);
  if (rows.size() < 2) return "";
  const auto& [best, best_value] = rows.front();
  const auto& [worst, worst_value] = rows.back();
  const size_t n = best->cells.at(column.key).there().size();
  return fmt::format("{}: {} is best in \"{}\" with {}{}, {} last with {} ({} of {}; {}).",
                     result.experiment->id, title_of(*best), column.title,
                     text_of(best_value, column.percent), column.percent ? " %" : "",
                     title_of(*worst), text_of(worst_value, column.percent), n,
                     n == 1 ? "run" : "runs", result.scale.text());
}

report::Table table_of(const Result& result) {
  report::Table table{.caption = result.experiment->id + ", " + result.scale.text()};
  table.columns.push_back({"method"});
  for (const Column& column : result.experiment->columns)
    table.columns.push_back({column.title, true});
  std::vector<const ResultRow*> best;
  for (const Column& column : result.experiment->columns) {
    const auto rows = ranking(result, column.key);
    best.push_back(rows.size() > 1 ? rows.front().first : nullptr);
  }
  for (const ResultRow& row : result.rows) {
    std::vector<Cell> cells = {title_of(row)};
    for (size_t c = 0; c < result.experiment->columns.size(); ++c) {
      const Column& column = result.experiment->columns[c];
      const mono::Cell& cell = row.cells.at(column.key);
      const std::vector<double> values = cell.there();
      if (values.empty())
        cells.emplace_back(cell.reason.empty() ? "not run" : cell.reason, Tone::muted);
      else
        cells.emplace_back(text_of(mean_sd(values), column.percent),
                           best[c] == &row ? Tone::strong : Tone::plain);
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// Paper, ours, difference; of other data no difference.
report::Table beside_the_paper(const Result& result) {
  const bool ours = result.scale.ours();
  report::Table table{.caption = "Beside the paper"};
  table.columns = {{"method"},
                   {"figure"},
                   {"paper", true},
                   {ours ? "ours" : result.scale.text(), true},
                   {"n", true}};
  if (ours) table.columns.push_back({"difference", true});
  for (const ResultRow& row : result.rows)
    for (const Column& column : result.experiment->columns) {
      const auto paper = row.paper.find(column.key);
      const std::vector<double> values = row.cells.at(column.key).there();
      if (paper == row.paper.end()) continue;
      std::vector<Cell> cells = {title_of(row), column.title,
                                 text_of(paper->second, column.percent)};
      if (values.empty())
        cells.emplace_back("not run", Tone::muted);
      else
        cells.emplace_back(text_of(mean_sd(values), column.percent));
      cells.emplace_back(fmt::to_string(values.size()));
      if (ours)
        cells.push_back(values.empty()
                            ? Cell("")
                            : report::difference_cell(mean_sd(values).mean, paper->second.value,
                                                      paper->second.spread));
      table.rows.push_back(std::move(cells));
    }
  return table;
}

// The first column in which methods are compared: every seed, mean and spread; the paper's beside
// it where the data are the paper's.
report::DotPlot plot_of(const Result& result) {
  const Column& column = column_of(result, result.experiment->ordered_by.front());
  report::DotPlot plot{.title = column.title};
  plot.value.label = column.percent ? column.title + " (%)" : column.title;
  report::Dots own{.name = result.scale.ours() ? "ours" : result.scale.text()};
  report::Dots paper{.name = "paper"};
  for (const ResultRow& row : result.rows) {
    const std::vector<double> values = row.cells.at(column.key).there();
    const MeanSd mean = mean_sd(values);
    plot.rows.push_back(title_of(row));
    own.values.push_back(values.empty() ? kAbsent : mean.mean);
    own.errors.push_back(mean.sd.value_or(kAbsent));
    own.singles.push_back(values);
    const auto published = row.paper.find(column.key);
    paper.values.push_back(published == row.paper.end() ? kAbsent : published->second.value);
    paper.errors.push_back(
        published == row.paper.end() ? kAbsent : published->second.spread.value_or(kAbsent));
  }
  plot.series.push_back(std::move(own));
  if (result.scale.ours()) plot.series.push_back(std::move(paper));
  return plot;
}

void add_judgement(Page& page, const Result& result) {
  if (!result.orders.empty()) {
    page.paragraph("Orders of the rows:");
    page.list(result.orders);
  }
  for (const CheckResult& check : result.checks)
    page.note(check_text(check), check.outcome == CheckResult::Outcome::holds   ? Badge::good
                                 : check.outcome == CheckResult::Outcome::fails ? Badge::caution
                                                                                : Badge::neutral);
}

void add_result(Page& page, const ShownResult& shown) {
  constexpr size_t kMostDots = 24;
  const Result& result = shown.result;
  const Experiment& experiment = *result.experiment;
  page.section(fmt::format("{}: {}", experiment.id, experiment.title));
  if (!result.rows.empty()) {
    if (!result.scale.ours())
      page.note(fmt::format("{}: the figures compare the methods with each other; they say nothing "
                            "about the paper's.",
                            result.scale.text()),
                Badge::caution);
    page.table(table_of(result));
    if (!experiment.ordered_by.empty() && result.rows.size() > 1 && result.rows.size() <= kMostDots)
      page.figure(plot_of(result),
                  "Mean and standard deviation, and each fold and seed by itself.");
  }
  if (!experiment.note.empty()) page.paragraph(experiment.note);
  const report::Table paper = beside_the_paper(result);
  if (!paper.rows.empty()) result.scale.ours() ? page.table(paper) : page.folded_table(paper);
  add_judgement(page, result);
  if (shown.figure) report::show(page, *shown.figure);
  if (!result.not_rehearsed.empty())
    page.note(fmt::format("{} rows are not part of a rehearsal: {}.", result.not_rehearsed.size(),
                          fmt::join(result.not_rehearsed, ", ")));
  if (!result.picture_failed.empty())
    page.note("There is no picture: " + result.picture_failed, Badge::caution);
}

}  // namespace

std::string results_page(const std::string& title, const std::vector<ShownResult>& results,
                         const std::string& command,
                         const std::vector<std::pair<std::string, std::string>>& facts) {
  Page page(title);
  std::vector<std::string> scales;
  for (const ShownResult& shown : results) {
    const std::string scale = shown.result.scale.text();
    if (std::ranges::find(scales, scale) != scales.end()) continue;
    scales.push_back(scale);
    page.badge(scale, shown.result.scale.ours() ? Badge::good : Badge::caution);
  }
  for (const ShownResult& shown : results)
    if (const std::string lead = lead_of(shown.result); !lead.empty()) {
      page.lead(lead);
      break;
    }
  for (const ShownResult& shown : results) add_result(page, shown);
  page.section("To repeat it");
  page.code(command);
  page.definitions(facts);
  return page.html();
}

}  // namespace mono
