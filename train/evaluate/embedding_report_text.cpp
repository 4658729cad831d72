// The report as a table for people and as JSON.
#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <map>
#include <vector>

#include "train/evaluate/embedding_report.h"

namespace mono {
namespace {

std::string title_of(const std::string& key) {
  static const std::map<std::string, std::string> kTitles = {{"knn", "k-NN"},
                                                             {"knn_other_batches", "other batches"},
                                                             {"linear_probe", "Lin."},
                                                             {"moa", "MoA"}};
  if (const auto found = kTitles.find(key); found != kTitles.end()) return found->second;
  const size_t at = key.find('_');  // kbet_test, grit_train
  return (key.starts_with("kbet") ? "kBET" : "grit") + std::string(" ") + key.substr(at + 1);
}

const Measure* find(const ReportRow& row, const std::string& key) {
  const auto found = std::ranges::find(row.measures, key, &Measure::key);
  return found == row.measures.end() ? nullptr : &*found;
}

std::string cell(const Measure* m) {
  if (!m || !m->value) return "-";
  return m->percent ? fmt::format("{:.2f}", 100 * *m->value) : fmt::format("{:.3f}", *m->value);
}

// Reasons, each once with the rows and measures that it left out.
std::string reasons(const EmbeddingReport& report) {
  using Line = std::pair<std::string, std::vector<std::string>>;
  std::vector<Line> lines;
  const auto add = [&](const std::string& reason, const std::string& what) {
    if (reason.empty()) return;
    auto line = std::ranges::find(lines, reason, &Line::first);
    if (line == lines.end()) line = lines.insert(lines.end(), {reason, {}});
    if (std::ranges::find(line->second, what) == line->second.end()) line->second.push_back(what);
  };
  for (const ReportRow& row : report.table) {
    add(row.left_out, row.title);
    for (const Measure& m : row.measures) add(m.left_out, title_of(m.key));
  }
  std::string text;
  for (const auto& [reason, what] : lines)
    text += fmt::format("left out: {}: {}\n", fmt::join(what, ", "), reason);
  return text;
}

// The counts behind the first row that has a value in each column.
std::string counts(const EmbeddingReport& report) {
  std::string text;
  for (const std::string& key : report.columns)
    for (const ReportRow& row : report.table)
      if (const Measure* m = find(row, key); m && m->value) {
        text += fmt::format("  {:<14} {}\n", title_of(key), text_of(m->counts));
        break;
      }
  for (const ReportRow& row : report.table)
    if (const std::string line = text_of(row.counts); !line.empty() && row.left_out.empty())
      text += fmt::format("  {:<14} {}\n", row.title, line);
  return text;
}

// What each correction does to k-NN: "TVN +1.20".
std::string gains(const EmbeddingReport& report) {
  const Measure* before = find(report.table.front(), "knn");
  if (!before || !before->value) return "";
  std::string text;
  for (const ReportRow& row : report.table) {
    const Measure* after = find(row, "knn");
    if (&row == &report.table.front() || !after || !after->value) continue;
    text += fmt::format("{} {} {:+.2f}", text.empty() ? "" : ",", row.title,
                        100 * (*after->value - *before->value));
  }
  return text.empty() ? "" : fmt::format("k-NN against the embedding as given, points:{}\n", text);
}

}  // namespace

std::string text_of(const Counts& counts) {
  std::string text;
  for (const auto& [key, value] : counts.entries) {
    std::string name = key, shown = value.line();
    std::ranges::replace(name, '_', ' ');
    std::erase(shown, '"');
    double number = 0;
    const auto [end, error] = std::from_chars(shown.data(), shown.data() + shown.size(), number);
    if (error == std::errc() && shown.find('.') != std::string::npos)
      shown = fmt::format("{:.4g}", number);
    text += fmt::format("{}{} {}", text.empty() ? "" : ", ", name, shown);
  }
  return text;
}

std::string report_text(const EmbeddingReport& report) {
  std::string text = fmt::format("{} rows of {} numbers; bank: {}; queries: {}\n\n", report.rows,
                                 report.width, report.bank, report.queries);
  text += fmt::format("{:<22}", "");
  for (const std::string& key : report.columns) text += fmt::format("{:>16}", title_of(key));
  text += '\n';
  for (const ReportRow& row : report.table) {
    text += fmt::format("{:<22}", row.title + (row.headline ? " *" : ""));
    for (const std::string& key : report.columns)
      text += fmt::format("{:>16}", cell(find(row, key)));
    text += '\n';
  }
  text += "percent, grit a plain number; * the Z-norm that is compared with published figures\n";
  text += gains(report);
  text += "\nbehind them:\n" + counts(report) + reasons(report);
  return text;
}

Json report_json(const EmbeddingReport& report) {
  Json json = Json::object();
  json["format_version"] = 1;
  json["rows"] = report.rows;
  json["width"] = report.width;
  json["about"] = report.about;
  Json table = Json::array();
  for (const ReportRow& row : report.table) {
    Json line = Json::object();
    line["processing"] = row.key;
    line["headline"] = row.headline;
    line["counts"] = Json(row.counts.entries);
    line["left_out"] = row.left_out.empty() ? Json() : Json(row.left_out);
    Json measures = Json::object();
    for (const Measure& m : row.measures) {
      Json entry(m.counts.entries);
      entry["value"] = m.value ? Json(*m.value) : Json();
      entry["left_out"] = m.left_out.empty() ? Json() : Json(m.left_out);
      measures[m.key] = entry;
    }
    line["measures"] = measures;
    table.push_back(line);
  }
  json["table"] = table;
  return json;
}

}  // namespace mono
