// How a result prints.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "train/reproduce/results.h"

namespace mono {
namespace {

std::string upper_first(std::string text) {
  if (!text.empty() && text[0] >= 'a' && text[0] <= 'z') text[0] = static_cast<char>(text[0] - 32);
  return text;
}

// Reasons for what is absent, each with a number.
class Footnotes {
 public:
  std::string mark(const std::string& reason) {
    auto found = std::ranges::find(reasons_, reason);
    if (found == reasons_.end()) found = reasons_.insert(reasons_.end(), reason);
    return fmt::format("[{}]", found - reasons_.begin() + 1);
  }
  std::string text() const {
    std::string out;
    for (size_t i = 0; i < reasons_.size(); ++i)
      out += fmt::format("[{}] {}\n", i + 1, reasons_[i]);
    return out.empty() ? out : "\n" + out;
  }

 private:
  std::vector<std::string> reasons_;
};

std::string text_of_cell(const Cell& cell, bool percent, Footnotes& footnotes) {
  const std::vector<double> values = cell.there();
  if (values.empty()) return "- " + footnotes.mark(cell.reason.empty() ? "not run" : cell.reason);
  std::string text = text_of(report::spread_of(values), percent);
  if (values.size() < cell.values.size())
    text += " " + footnotes.mark(
                      fmt::format("{} of {}: {}", values.size(), cell.values.size(), cell.reason));
  return text;
}

std::string measured_table(const Result& result) {
  std::vector<std::vector<std::string>> rows = {{"method"}};
  for (const Column& column : result.experiment->columns) rows[0].push_back(column.title);
  Footnotes footnotes;
  for (const ResultRow& row : result.rows) {
    rows.push_back({title_of(row)});
    for (const Column& column : result.experiment->columns)
      rows.back().push_back(text_of_cell(row.cells.at(column.key), column.percent, footnotes));
  }
  return markdown_table(rows) + footnotes.text();
}

// Paper, ours, difference. Whether the paper's ± covers it stands beside, if the paper has one.
std::string paper_table(const Result& result) {
  const bool ours = result.scale.ours();
  std::vector<std::vector<std::string>> rows = {
      {"method", "figure", "paper", ours ? "ours" : result.scale.text(), "n"}};
  if (ours) rows[0].insert(rows[0].end(), {"difference", "within the paper's ±"});
  for (const auto& [row, column, paper, measured] : beside_the_paper(result)) {
    rows.push_back({title_of(*row), column->title, text_of(paper, column->percent),
                    text_of(measured, column->percent), fmt::to_string(measured.count)});
    if (!ours) continue;
    const double difference = measured.mean - paper.value;
    rows.back().push_back(fmt::format("{:+.{}f}", difference, column->percent ? 1 : 2));
    rows.back().push_back(!paper.spread                           ? "-"
                          : std::abs(difference) <= *paper.spread ? "yes"
                                                                  : "no");
  }
  return rows.size() > 1 ? "\n" + markdown_table(rows) : "";
}

std::string word_of(CheckResult::Outcome outcome) {
  switch (outcome) {
    case CheckResult::Outcome::holds:
      return "holds";
    case CheckResult::Outcome::fails:
      return "FAILS";
    case CheckResult::Outcome::not_checked:
      break;
  }
  return "not asserted";
}

std::string list_text(const std::string& head, const std::vector<std::string>& items) {
  std::string text;
  for (const std::string& item : items) text += fmt::format("- {}\n", item);
  return items.empty() ? "" : fmt::format("\n{}\n\n{}", head, text);
}

Json cell_json(const Result& result, const ResultRow& row, const Column& column) {
  const Cell& cell = row.cells.at(column.key);
  Json json = Json::object();
  Json values = Json::array();
  for (const auto& value : cell.values) values.push_back(value ? Json(*value) : Json());
  json["values"] = values;
  const std::vector<double> there = cell.there();
  const report::Spread summary = report::spread_of(there);
  json["n"] = static_cast<int64_t>(there.size());
  json["mean"] = there.empty() ? Json() : Json(summary.mean);
  json["sd"] = summary.sd ? Json(*summary.sd) : Json();
  json["absent"] = cell.reason.empty() ? Json() : Json(cell.reason);
  const auto paper = row.paper.find(column.key);
  const bool published = paper != row.paper.end();
  json["paper"] = published ? Json(paper->second.value) : Json();
  json["paper_spread"] = published && paper->second.spread ? Json(*paper->second.spread) : Json();
  json["difference"] = published && !there.empty() && result.scale.ours()
                           ? Json(summary.mean - paper->second.value)
                           : Json();
  return json;
}

}  // namespace

std::string markdown_table(const std::vector<std::vector<std::string>>& rows) {
  // UTF-8: a continuation byte takes no column.
  const auto width_of = [](const std::string& text) {
    size_t width = 0;
    for (const char c : text) width += (static_cast<unsigned char>(c) & 0xC0) != 0x80;
    return width;
  };
  std::vector<size_t> widths(rows[0].size(), 3);
  for (const auto& row : rows)
    for (size_t c = 0; c < row.size(); ++c) widths[c] = std::max(widths[c], width_of(row[c]));
  std::string out;
  for (size_t r = 0; r < rows.size(); ++r) {
    for (size_t c = 0; c < rows[r].size(); ++c) {
      const std::string space(widths[c] - width_of(rows[r][c]), ' ');
      out += c == 0 ? "| " + rows[r][c] + space + " |" : " " + space + rows[r][c] + " |";
    }
    out += "\n";
    if (r > 0) continue;
    for (size_t c = 0; c < widths.size(); ++c)
      out += (c == 0 ? "|" : "") + std::string(widths[c] + 1, '-') + (c == 0 ? "-|" : ":|");
    out += "\n";
  }
  return out;
}

std::string check_text(const CheckResult& check) {
  return fmt::format("{}: {}", word_of(check.outcome), check.text);
}

std::string result_markdown(const Result& result) {
  const Experiment& experiment = *result.experiment;
  std::string out = fmt::format("# {}: {}\n\n", experiment.id, experiment.title);
  if (!experiment.rows.empty()) {
    if (const std::string start = start_text(result, "**"); !start.empty()) out += start + "\n\n";
    if (!result.scale.ours())
      out += fmt::format(
          "**{}**: these figures compare the methods with each other; they say nothing about the\n"
          "paper's.\n\n",
          upper_first(result.scale.text()));
    out += measured_table(result);
    out += fmt::format(
        "\n{}{}; {}.\n",
        std::ranges::any_of(experiment.columns, &Column::percent) ? "Percent of test images"
                                                                  : "Plain numbers",
        result.folds.size() * result.seeds.size() > 1 ? "; mean ± standard deviation" : "",
        replicates_text(result));
  }
  if (!experiment.note.empty()) out += experiment.note + "\n";
  out += paper_table(result);
  if (!result.not_rehearsed.empty())
    out += fmt::format("\n{} rows are not part of a rehearsal: {}.\n", result.not_rehearsed.size(),
                       fmt::join(result.not_rehearsed, ", "));
  out += list_text("Orders:", result.orders);
  std::vector<std::string> checks;
  for (const CheckResult& check : result.checks) checks.push_back(check_text(check));
  out += list_text("Asserted:", checks);
  for (const std::string& file : result.pictures)
    out += fmt::format("\n![{}]({})\n", experiment.title, file);
  if (!result.caption.empty()) out += "\n" + result.caption + "\n";
  if (!result.no_picture.empty())
    out += fmt::format("\nThere is no picture: {}\n", result.no_picture);
  return out;
}

Json result_json(const Result& result) {
  Json json = Json::object();
  json["format_version"] = 1;
  json["table"] = result.experiment->id;
  json["title"] = result.experiment->title;
  json["data"] = result.scale.text();
  json["ours"] = result.scale.ours();
  json["start"] = result.start.empty() ? Json() : Json(result.start);
  json["folds"] = Json(result.folds);
  json["seeds"] = Json(result.seeds);
  Json columns = Json::array(), rows = Json::array(), checks = Json::array();
  for (const Column& column : result.experiment->columns) {
    Json entry = Json::object();
    entry["key"] = column.key;
    entry["title"] = column.title;
    entry["percent"] = column.percent;
    columns.push_back(entry);
  }
  for (const ResultRow& row : result.rows) {
    Json entry = Json::object();
    entry["method"] = row.name;
    entry["recipe"] = row.recipe;
    entry["beside_the_paper"] = row.beside_the_paper.empty() ? Json() : Json(row.beside_the_paper);
    entry["chosen"] = row.chosen.empty() ? Json() : Json(row.chosen);
    for (const Column& column : result.experiment->columns)
      entry[column.key] = cell_json(result, row, column);
    rows.push_back(entry);
  }
  for (const CheckResult& check : result.checks) {
    Json entry = Json::object();
    entry["outcome"] = word_of(check.outcome);
    entry["text"] = check.text;
    checks.push_back(entry);
  }
  json["columns"] = columns;
  json["rows"] = rows;
  json["not_rehearsed"] = Json(result.not_rehearsed);
  json["orders"] = Json(result.orders);
  json["checks"] = checks;
  json["pictures"] = Json(result.pictures);
  json["no_picture"] = result.no_picture.empty() ? Json() : Json(result.no_picture);
  return json;
}

}  // namespace mono
