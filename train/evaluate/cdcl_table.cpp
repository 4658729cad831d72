// How the tables of CDCL are printed.
#include <fmt/format.h>

#include "train/evaluate/reproduce_cdcl.h"
#include "train/evaluate/table1.h"
#include "train/evaluate/views_evaluation.h"

namespace mono {
namespace {

constexpr const char* kNotThePapers = "synthetic or partial data";

const std::vector<double>* values_of(const CdclRow& row, const std::string& column) {
  const auto found = row.figures.find(column);
  return found == row.figures.end() ? nullptr : &found->second;
}

// Columns that Tables 1 and 4 share: those of k-BET stand with the accuracies.
std::vector<std::pair<std::string, std::string>> columns_of_table() {
  std::vector<std::pair<std::string, std::string>> columns;
  for (const ViewsColumn& column : views_columns())
    if (column.table == "table1" || column.table == "table4")
      columns.emplace_back(column.key, column.title);
  return columns;
}

std::string row_title(const CdclRow& row) {
  std::string title = row.method;
  if (row.floor) title += " (floor)";
  if (!row.chosen.empty()) title += " [" + row.chosen + "]";
  return title;
}

std::string numbers(const std::vector<int64_t>& values) {
  return fmt::format("{}", fmt::join(values, ", "));
}

// The rule about ImageNet weights.
std::string start_text(const CdclTable& table) {
  if (table.start.empty())
    return "**From scratch**: every run of the paper starts from ImageNet weights, these start "
           "from "
           "random\nones. They compare the methods with each other and never stand beside the "
           "paper's "
           "figures.\n\n";
  return fmt::format(
      "Every run starts from the weights {}, as the paper's start from ImageNet's; figures of "
      "runs\n"
      "from scratch never stand in this table.\n\n",
      table.start);
}

std::string beside_the_paper(const CdclTable& table) {
  std::vector<std::vector<std::string>> rows = {
      {"method", "figure", "paper", table.paper_scale ? "ours" : kNotThePapers}};
  if (table.paper_scale) rows[0].push_back("difference");
  for (const CdclRow& row : table.rows)
    for (const auto& [column, title] : columns_of_table()) {
      const auto paper = row.paper.find(column);
      const std::vector<double>* values = values_of(row, column);
      if (paper == row.paper.end() || !values) continue;
      rows.push_back({row_title(row), title, text_of(paper->second), text_of(mean_sd(*values))});
      if (table.paper_scale)
        rows.back().push_back(fmt::format("{:+.1f}", mean_sd(*values).mean - paper->second.value));
    }
  return rows.size() > 1 ? "\n" + markdown(rows) : "";
}

}  // namespace

std::string cdcl_table_markdown(const CdclTable& table) {
  std::vector<std::vector<std::string>> rows = {{"method"}};
  for (const auto& [column, title] : columns_of_table()) rows[0].push_back(title);
  for (const CdclRow& row : table.rows) {
    rows.push_back({row_title(row)});
    for (const auto& [column, title] : columns_of_table()) {
      const std::vector<double>* values = values_of(row, column);
      rows.back().push_back(values ? text_of(mean_sd(*values)) : "-");
    }
  }
  std::string out = fmt::format("# {}\n\n", table.name) + start_text(table);
  if (!table.paper_scale)
    out += fmt::format("**{}{}**: these figures say nothing about the paper's.\n\n",
                       static_cast<char>(std::toupper(kNotThePapers[0])), kNotThePapers + 1);
  out += markdown(rows);
  const bool many = table.folds.size() * table.seeds.size() > 1;
  out += fmt::format(
      "\nPercent of test images{}; folds {}, seeds {}. Lin.: the online probe (supervised: its\n"
      "classifier). Z-norm in its three modes; `all`, what the published code does, is the "
      "headline.\n"
      "k-BET: consistent form, of the test experiments; train: of the training ones. Floors: a "
      "network\nthat was never trained, and histograms of the pixels.\n",
      many ? "; mean ± standard deviation" : "", numbers(table.folds), numbers(table.seeds));
  return out + beside_the_paper(table);
}

Json cdcl_table_json(const CdclTable& table) {
  Json json = Json::object();
  json["format_version"] = 1;
  json["table"] = table.name;
  json["data"] = table.paper_scale ? "complete RXRX1-HUVEC" : kNotThePapers;
  json["start"] = table.start.empty() ? Json("from scratch") : Json(table.start);
  const auto list = [](const auto& values) {
    Json out = Json::array();
    for (const auto value : values) out.push_back(value);
    return out;
  };
  json["folds"] = list(table.folds);
  json["seeds"] = list(table.seeds);
  Json rows = Json::array();
  for (const CdclRow& row : table.rows) {
    Json entry = Json::object();
    entry["method"] = row.method;
    entry["floor"] = row.floor;
    entry["chosen"] = row.chosen.empty() ? Json() : Json(row.chosen);
    for (const auto& [column, title] : columns_of_table()) {
      const std::vector<double>* values = values_of(row, column);
      Json figure = Json::object();
      figure["values"] = values ? list(*values) : Json::array();
      const MeanSd summary = values ? mean_sd(*values) : MeanSd{};
      figure["mean"] = values ? Json(summary.mean) : Json();
      figure["sd"] = summary.sd ? Json(*summary.sd) : Json();
      const auto paper = row.paper.find(column);
      figure["paper"] = paper == row.paper.end() ? Json() : Json(paper->second.value);
      figure["difference"] = paper == row.paper.end() || !values || !table.paper_scale
                                 ? Json()
                                 : Json(summary.mean - paper->second.value);
      entry[column] = figure;
    }
    rows.push_back(entry);
  }
  json["rows"] = rows;
  return json;
}

}  // namespace mono
