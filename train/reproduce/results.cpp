#include "train/reproduce/results.h"

#include <fmt/format.h>

#include <algorithm>

namespace mono {
namespace {

const ResultRow* find_row(const Result& result, const std::string& name) {
  const auto found = std::ranges::find(result.rows, name, &ResultRow::name);
  return found == result.rows.end() ? nullptr : &*found;
}

const Cell* find_cell(const ResultRow& row, const std::string& column) {
  const auto found = row.cells.find(column);
  return found == row.cells.end() ? nullptr : &found->second;
}

// The figures that a check compares, replicate by replicate; none where one is not there.
struct Compared {
  std::vector<double> left, right;
  std::string missing;
};

Compared compare(const Result& result, const Check& check, double bound) {
  Compared compared;
  const ResultRow* row = find_row(result, check.row);
  const ResultRow* other = check.than.empty() ? row : find_row(result, check.than);
  if (!row || !other) {
    compared.missing = fmt::format("row {} is not there", row ? check.than : check.row);
    return compared;
  }
  const Cell *left = find_cell(*row, check.column), *right = find_cell(*other, check.column);
  for (size_t i = 0; left && right && i < std::min(left->values.size(), right->values.size());
       ++i) {
    if (!left->values[i] || !right->values[i]) {
      compared.missing = "a figure is not there";
      return compared;
    }
    compared.left.push_back(*left->values[i]);
    compared.right.push_back(check.than.empty() ? bound : *right->values[i]);
  }
  if (compared.left.empty()) compared.missing = "no figure is there";
  return compared;
}

std::string claim_of(const Check& check, double bound) {
  if (check.than.empty())
    return fmt::format("{}: {} at most {:g} times chance ({:.1f})", check.row, check.column,
                       check.times_chance, bound);
  return fmt::format("{}: {} above {}{}", check.row, check.column, check.than,
                     check.margin > 0 ? fmt::format(" by {:g} points", check.margin) : "");
}

CheckResult judged(const Result& result, const Check& check, int64_t experiments) {
  const double bound =
      experiments > 0 ? 100 * check.times_chance / static_cast<double>(experiments) : 0;
  const Compared compared = compare(result, check, bound);
  CheckResult out;
  out.text = claim_of(check, bound) + ", in every fold and seed: ";
  if (!compared.missing.empty()) {
    out.text += "not checked, " + compared.missing;
    return out;
  }
  bool holds = true;
  for (size_t i = 0; i < compared.left.size(); ++i) {
    const double left = compared.left[i], right = compared.right[i];
    const bool here = check.than.empty() ? left <= right : left > right + check.margin;
    holds = holds && here;
    out.text += fmt::format("{}{:.1f} {} {:.1f}", i == 0 ? "" : ", ", left,
                            left > right   ? ">"
                            : left < right ? "<"
                                           : "=",
                            right);
  }
  if (result.scale.changed) {
    out.text += holds ? " (so it is" : " (not so";
    out.text += "; not asserted: the recipes were changed)";
    return out;
  }
  out.outcome = holds ? CheckResult::Outcome::holds : CheckResult::Outcome::fails;
  return out;
}

using Ranking = std::vector<std::pair<std::string, double>>;

std::string chain_of(Ranking ranking) {
  constexpr size_t kMost = 12;
  std::ranges::stable_sort(ranking, std::ranges::greater{}, &Ranking::value_type::second);
  std::string text;
  for (size_t i = 0; i < std::min(ranking.size(), kMost); ++i)
    text += (i == 0                                       ? ""
             : ranking[i - 1].second == ranking[i].second ? " = "
                                                          : " > ") +
            ranking[i].first;
  if (ranking.size() > kMost) text += fmt::format(" > {} more", ranking.size() - kMost);
  return text;
}

// "3 of 6 pairs": how many pairs of rows stand in the same order in both.
std::string agreement(const Ranking& paper, const Ranking& here) {
  int64_t same = 0, pairs = 0;
  for (size_t i = 0; i < paper.size(); ++i)
    for (size_t j = i + 1; j < paper.size(); ++j) {
      const double p = paper[i].second - paper[j].second, h = here[i].second - here[j].second;
      if (p == 0) continue;
      ++pairs;
      same += p * h > 0;
    }
  return same == pairs ? "the same order" : fmt::format("{} of {} pairs alike", same, pairs);
}

void add_order(Result& result, const std::string& column) {
  Ranking paper, beside_it, all;
  for (const ResultRow& row : result.rows) {
    const Cell* cell = find_cell(row, column);
    const std::vector<double> values = cell ? cell->there() : std::vector<double>();
    if (values.empty()) continue;
    all.emplace_back(row.name, report::spread_of(values).mean);
    const auto published = row.paper.find(column);
    if (published == row.paper.end()) continue;
    paper.emplace_back(row.name, published->second.value);
    beside_it.push_back(all.back());
  }
  if (paper.size() > 1)
    result.orders.push_back(fmt::format("{}: paper {}; here {} ({})", column, chain_of(paper),
                                        chain_of(beside_it), agreement(paper, beside_it)));
  else if (all.size() > 1)
    result.orders.push_back(
        fmt::format("{}: here {}; the paper gives no figures", column, chain_of(all)));
}

}  // namespace

std::string text_of(const report::Spread& value, bool percent) {
  return value.text(percent ? 1 : 2);
}

std::string text_of(const PaperFigure& figure, bool percent) {
  return text_of(report::Spread{.mean = figure.value, .sd = figure.spread, .count = 1}, percent);
}

std::vector<double> Cell::there() const {
  std::vector<double> out;
  for (const auto& value : values)
    if (value) out.push_back(*value);
  return out;
}

std::optional<ErrorKind> Result::failed() const {
  for (const ResultRow& row : rows)
    for (const auto& [column, cell] : row.cells)
      if (cell.failed) return cell.failed;
  return picture_failed;
}

std::string title_of(const ResultRow& row) {
  std::string title = row.name;
  if (!row.beside_the_paper.empty()) title += ", " + row.beside_the_paper;
  if (!row.chosen.empty()) title += " [" + row.chosen + "]";
  return title;
}

std::string replicates_text(const Result& result) {
  std::string text;
  if (result.folds.size() > 1 || (!result.folds.empty() && result.folds[0] > 0))
    text += fmt::format("folds {}; ", fmt::join(result.folds, ", "));
  return text + fmt::format("seeds {}", fmt::join(result.seeds, ", "));
}

std::string start_text(const Result& result, const std::string& mark) {
  if (!result.experiment->cdcl || result.rows.empty()) return "";
  if (result.start.empty())
    return mark + "From scratch" + mark +
           ": every run of the paper starts from ImageNet weights, these start from random\nones. "
           "They compare the methods with each other and never stand beside the paper's figures.";
  return fmt::format(
      "Every run starts from the weights {}, as the paper's start from ImageNet's; figures of "
      "runs\nfrom scratch never stand in this table.",
      result.start);
}

std::vector<std::pair<const ResultRow*, report::Spread>> ranking(const Result& result,
                                                                 const Column& column) {
  std::vector<std::pair<const ResultRow*, report::Spread>> rows;
  for (const ResultRow& row : result.rows)
    if (const std::vector<double> values = row.cells.at(column.key).there(); !values.empty())
      rows.emplace_back(&row, report::spread_of(values));
  const double sign = column.best == Best::lowest ? 1 : -1;
  if (column.best != Best::nothing)
    std::ranges::stable_sort(rows, {}, [&](const auto& row) { return sign * row.second.mean; });
  return rows;
}

std::vector<BesideThePaper> beside_the_paper(const Result& result) {
  std::vector<BesideThePaper> figures;
  for (const ResultRow& row : result.rows)
    for (const Column& column : result.experiment->columns) {
      const auto paper = row.paper.find(column.key);
      const report::Spread measured = report::spread_of(row.cells.at(column.key).there());
      if (paper != row.paper.end() && measured.count > 0)
        figures.push_back({&row, &column, paper->second, measured});
    }
  return figures;
}

void judge(Result& result, int64_t experiments) {
  for (const Check& check : result.experiment->checks)
    result.checks.push_back(judged(result, check, experiments));
  for (const std::string& column : result.experiment->ordered_by) add_order(result, column);
}

}  // namespace mono
