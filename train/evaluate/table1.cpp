#include "train/evaluate/table1.h"

#include <fmt/format.h>

#include <cmath>

namespace mono {
namespace {

// What the column of our figures is called. Figures of anything but the paper's own screen never
// stand in a column called "ours".
constexpr const char* kNotThePapers = "synthetic or partial data";

std::string title_of(const std::string& column) {
  std::string title = column;
  for (char& c : title)
    if (c == '_') c = ' ';
  return title;
}

std::string row_title(const Table1Row& row) {
  return row.control ? fmt::format("{}, post-hoc {} statistics (control, not AdaBN)", row.method,
                                   row.statistics)
                     : row.method;
}

std::string cell(const Table1Row& row, const std::string& column) {
  const std::vector<double> values = column_values(row, column);
  return values.empty() ? "-" : text_of(mean_sd(values));
}

std::string beside_the_paper(const Table1& table) {
  std::vector<std::vector<std::string>> rows = {
      {"method", "figure", "paper", table.paper_scale ? "ours" : kNotThePapers}};
  if (table.paper_scale) rows[0].push_back("difference");
  for (const Table1Row& row : table.rows)
    for (const std::string& column : table1_columns()) {
      const auto paper = row.paper.find(column);
      const std::vector<double> values = column_values(row, column);
      if (paper == row.paper.end() || values.empty()) continue;
      rows.push_back(
          {row_title(row), title_of(column), text_of(paper->second), text_of(mean_sd(values))});
      if (table.paper_scale)
        rows.back().push_back(fmt::format("{:+.1f}", mean_sd(values).mean - paper->second.value));
    }
  return rows.size() > 1 ? markdown(rows) : "";
}

}  // namespace

std::string text_of(const MeanSd& value) {
  return value.sd ? fmt::format("{:.1f} ± {:.1f}", value.mean, *value.sd)
                  : fmt::format("{:.1f}", value.mean);
}

std::string text_of(const PaperFigure& figure) {
  return figure.spread ? fmt::format("{:.1f} ± {:.1f}", figure.value, *figure.spread)
                       : fmt::format("{:.1f}", figure.value);
}

std::string markdown(const std::vector<std::vector<std::string>>& rows) {
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

MeanSd mean_sd(const std::vector<double>& values) {
  MeanSd result;
  const auto n = static_cast<double>(values.size());
  for (const double value : values) result.mean += value / n;
  if (values.size() < 2) return result;
  double squares = 0;
  for (const double value : values) squares += (value - result.mean) * (value - result.mean);
  result.sd = std::sqrt(squares / (n - 1));
  return result;
}

const std::vector<std::string>& table1_columns() {
  static const std::vector<std::string> columns = {"separated", "stratified",
                                                   "batch_generalisation", "batch_accuracy"};
  return columns;
}

std::vector<double> column_values(const Table1Row& row, const std::string& column) {
  std::vector<double> values;
  for (const Table1Figures& seed : row.seeds) {
    if (column == "separated") values.push_back(100 * seed.separated);
    if (column == "stratified") values.push_back(100 * seed.stratified);
    if (column == "batch_generalisation" && seed.stratified > 0)
      values.push_back(100 * seed.separated / seed.stratified);
    if (column == "batch_accuracy" && seed.batch_accuracy)
      values.push_back(100 * *seed.batch_accuracy);
  }
  return values;
}

bool is_complete_rxrx1(const Dataset& dataset) {
  constexpr size_t kSites = 125'510, kExperiments = 51;
  constexpr int kImageSize = 512;
  if (dataset.sites.size() < kSites || dataset.experiments.size() != kExperiments ||
      dataset.num_classes != kRxrxClasses || dataset.image_size != kImageSize ||
      dataset.channels_on_disk != kRxrxChannels)
    return false;
  size_t complete = 0;
  for (int site = 0; site < static_cast<int>(dataset.sites.size()); ++site)
    complete += dataset.complete(site) && dataset.sites[static_cast<size_t>(site)].sirna_id >= 0;
  return complete == kSites;
}

std::string table1_markdown(const Table1& table) {
  std::vector<std::vector<std::string>> rows = {{"method"}};
  for (const std::string& column : table1_columns()) rows[0].push_back(title_of(column));
  for (const Table1Row& row : table.rows) {
    rows.push_back({row_title(row)});
    for (const std::string& column : table1_columns()) rows.back().push_back(cell(row, column));
  }
  std::string seeds;
  for (const int64_t seed : table.seeds)
    seeds += (seeds.empty() ? "" : ", ") + fmt::to_string(seed);
  std::string out = fmt::format("# {}\n\n", table.name);
  if (!table.paper_scale)
    out += fmt::format(
        "**{}{}**: these figures compare the methods with each other; they say nothing about the\n"
        "paper's.\n\n",
        static_cast<char>(std::toupper(kNotThePapers[0])), kNotThePapers + 1);
  out += markdown(rows);
  out += fmt::format(
      "\nPercent of test images; mean{} over seed{} {}. Batch generalisation is separated /\n"
      "stratified; batch accuracy is the batch head's on the stratified test images. Stratified by "
      "{}.\n",
      table.seeds.size() > 1 ? " ± standard deviation" : "", table.seeds.size() > 1 ? "s" : "",
      seeds, table.stratified_by);
  const std::string paper = beside_the_paper(table);
  if (!paper.empty()) out += "\n" + paper;
  return out;
}

Json table1_json(const Table1& table) {
  Json json = Json::object();
  json["format_version"] = 1;
  json["table"] = table.name;
  json["data"] = table.paper_scale ? "complete RxRx1" : kNotThePapers;
  json["stratified_by"] = table.stratified_by;
  Json seeds = Json::array(), rows = Json::array();
  for (const int64_t seed : table.seeds) seeds.push_back(seed);
  json["seeds"] = seeds;
  for (const Table1Row& row : table.rows) {
    Json entry = Json::object();
    entry["method"] = row.method;
    entry["statistics"] = row.statistics;
    entry["control"] = row.control;
    for (const std::string& column : table1_columns()) {
      const std::vector<double> values = column_values(row, column);
      Json figure = Json::object();
      Json list = Json::array();
      for (const double value : values) list.push_back(value);
      figure["values"] = list;
      const MeanSd summary = mean_sd(values);
      figure["mean"] = values.empty() ? Json() : Json(summary.mean);
      figure["sd"] = summary.sd ? Json(*summary.sd) : Json();
      const auto paper = row.paper.find(column);
      figure["paper"] = paper == row.paper.end() ? Json() : Json(paper->second.value);
      figure["difference"] = paper == row.paper.end() || values.empty() || !table.paper_scale
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
