#include "train/reproduce/results_page.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

namespace mono {
namespace {

using report::Badge;
using report::Cell;
using report::Page;
using report::Tone;

constexpr double kAbsent = std::numeric_limits<double>::quiet_NaN();

const Column& column_of(const Result& result, const std::string& key) {
  return *std::ranges::find(result.experiment->columns, key, &Column::key);
}

// What a newcomer reads first: which row is best, by how much, and on what data.
std::string lead_of(const Result& result) {
  if (result.experiment->ordered_by.empty()) return "";
  const Column& column = column_of(result, result.experiment->ordered_by.front());
  const auto rows = ranking(result, column);
  if (rows.size() < 2) return "";
  const auto& [best, best_value] = rows.front();
  const auto& [worst, worst_value] = rows.back();
  return fmt::format("{}: {} is best in \"{}\" with {}{}, {} last with {} (n = {} and {}; {}).",
                     result.experiment->id, title_of(*best), column.title,
                     text_of(best_value, column.percent), column.percent ? " %" : "",
                     title_of(*worst), text_of(worst_value, column.percent), best_value.count,
                     worst_value.count, result.scale.text());
}

// A cell of which folds or seeds are absent says how many, and why.
Cell cell_of(const mono::Cell& cell, bool percent, bool best) {
  const std::vector<double> values = cell.there();
  if (values.empty()) return {cell.reason.empty() ? "not run" : cell.reason, Tone::muted};
  std::string text = text_of(report::spread_of(values), percent);
  if (values.size() < cell.values.size())
    text += fmt::format(" ({} of {}: {})", values.size(), cell.values.size(), cell.reason);
  return {text, best ? Tone::strong : Tone::plain};
}

report::Table table_of(const Result& result) {
  report::Table table{.caption = fmt::format("{}, {}; {}", result.experiment->id,
                                             result.scale.text(), replicates_text(result))};
  table.columns.push_back({"method"});
  std::vector<const ResultRow*> best;
  for (const Column& column : result.experiment->columns) {
    table.columns.push_back({column.title, true});
    const auto rows = ranking(result, column);
    const bool compared = rows.size() > 1 && column.best != Best::nothing;
    best.push_back(compared ? rows.front().first : nullptr);
  }
  for (const ResultRow& row : result.rows) {
    std::vector<Cell> cells = {title_of(row)};
    for (size_t c = 0; c < result.experiment->columns.size(); ++c) {
      const Column& column = result.experiment->columns[c];
      cells.push_back(cell_of(row.cells.at(column.key), column.percent, best[c] == &row));
    }
    table.rows.push_back(std::move(cells));
  }
  return table;
}

// Paper, ours, difference; of other data no difference.
report::Table paper_table(const Result& result) {
  const bool ours = result.scale.ours();
  report::Table table{.caption = "Beside the paper"};
  table.columns = {{"method"},
                   {"figure"},
                   {"paper", true},
                   {ours ? "ours" : result.scale.text(), true},
                   {"n", true}};
  if (ours) table.columns.push_back({"difference", true});
  for (const auto& [row, column, paper, measured] : beside_the_paper(result)) {
    table.rows.push_back({title_of(*row), column->title, text_of(paper, column->percent),
                          text_of(measured, column->percent), fmt::to_string(measured.count)});
    if (ours)
      table.rows.back().push_back(
          report::difference_cell(measured.mean, paper.value, paper.spread));
  }
  return table;
}

std::string dots_text(const Result& result) {
  const std::string key = column_of(result, result.experiment->ordered_by.front()).key;
  const bool single = std::ranges::all_of(
      result.rows, [&](const ResultRow& row) { return row.cells.at(key).there().size() < 2; });
  return single ? "One fold and seed each."
                : "Mean and standard deviation, and each fold and seed by itself.";
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
    const report::Spread mean = report::spread_of(values);
    plot.rows.push_back(title_of(row));
    own.values.push_back(mean.mean);
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
    if (const std::string start = start_text(result); !start.empty()) page.paragraph(start);
    page.table(table_of(result));
    if (!experiment.ordered_by.empty() && result.rows.size() > 1 && result.rows.size() <= kMostDots)
      page.figure(plot_of(result), dots_text(result));
  }
  if (!experiment.note.empty()) page.paragraph(experiment.note);
  const report::Table paper = paper_table(result);
  if (!paper.rows.empty()) result.scale.ours() ? page.table(paper) : page.folded_table(paper);
  add_judgement(page, result);
  if (shown.figure) report::show(page, *shown.figure);
  if (!result.not_rehearsed.empty())
    page.note(fmt::format("{} rows are not part of a rehearsal: {}.", result.not_rehearsed.size(),
                          fmt::join(result.not_rehearsed, ", ")));
  if (!result.no_picture.empty())
    page.note("There is no picture: " + result.no_picture, Badge::caution);
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
