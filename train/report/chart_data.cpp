// What charts show, as tables.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "train/report/plot.h"

namespace mono::report {
namespace {

constexpr size_t kRows = 200;

std::string value_text(double value) {
  return short_text(value, 5);
}

// Columns "name" and "name ±" where any of the errors is there.
template <class Group>
Table table_of(const std::string& first, const std::vector<std::string>& names,
               const std::vector<Group>& groups, const std::string& value) {
  Table table;
  table.columns.push_back({first, false});
  for (const std::string& name : names) table.rows.push_back({Cell(name)});
  for (const Group& group : groups) {
    const std::string title = group.name.empty() ? value : group.name;
    table.columns.push_back({title, true});
    for (size_t i = 0; i < names.size(); ++i)
      table.rows[i].emplace_back(value_text(group.values[i]));
    if (group.errors.empty()) continue;
    table.columns.push_back({title + " ±", true});
    for (size_t i = 0; i < names.size(); ++i)
      table.rows[i].emplace_back(value_text(group.errors[i]));
  }
  return table;
}

std::string title_or(const std::string& title, const char* otherwise) {
  return title.empty() ? otherwise : title;
}

Table counts_of(const std::vector<Sample>& samples) {
  Table table;
  table.columns = {{"", false}, {"values", true}, {"mean", true}, {"least", true}, {"most", true}};
  for (const Sample& sample : samples) {
    Extent extent;
    double sum = 0;
    int64_t count = 0;
    for (const double value : sample.values) {
      if (!std::isfinite(value)) continue;
      extent.add(value);
      sum += value;
      ++count;
    }
    const double none = std::nan("");
    table.rows.push_back({sample.name, figure_text(static_cast<double>(count), 0),
                          value_text(count ? sum / static_cast<double>(count) : none),
                          value_text(extent.any ? extent.low : none),
                          value_text(extent.any ? extent.high : none)});
  }
  return table;
}

}  // namespace

Table data_table(const LineChart& chart) {
  Table table;
  table.columns.push_back({title_or(chart.x.label, "x"), true});
  std::map<double, size_t> row_of;
  for (const Series& series : chart.series)
    for (const double x : series.x)
      if (std::isfinite(x)) row_of[x] = 0;
  const size_t every = (row_of.size() + kRows - 1) / kRows;
  if (every > 1) table.caption = fmt::format("One in {} of {} values", every, row_of.size());
  size_t place = 0;
  for (auto at = row_of.begin(); at != row_of.end(); ++place) {
    if (place % std::max<size_t>(every, 1) != 0 && std::next(at) != row_of.end()) {
      at = row_of.erase(at);
      continue;
    }
    at->second = table.rows.size();
    table.rows.push_back({Cell(value_text(at->first))});
    ++at;
  }
  for (const Series& series : chart.series) {
    const std::string name = title_or(series.name, title_or(chart.y.label, "y").c_str());
    table.columns.push_back({name, true});
    if (!series.low.empty()) table.columns.push_back({name + ", band", true});
    for (auto& row : table.rows) row.resize(table.columns.size(), Cell("–"));
    const size_t column = table.columns.size() - (series.low.empty() ? 1 : 2);
    for (size_t i = 0; i < series.x.size(); ++i) {
      // A NaN is found everywhere: it compares as equal to any key.
      const auto row = std::isfinite(series.x[i]) ? row_of.find(series.x[i]) : row_of.end();
      if (row == row_of.end()) continue;
      table.rows[row->second][column] = value_text(series.y[i]);
      if (!series.low.empty() && std::isfinite(series.low[i]))
        table.rows[row->second][column + 1] =
            fmt::format("{} to {}", value_text(series.low[i]), value_text(series.high[i]));
    }
  }
  return table;
}

Table data_table(const BarChart& chart) {
  return table_of("", chart.categories, chart.series, title_or(chart.value.label, "value"));
}

Table data_table(const DotPlot& chart) {
  return table_of("", chart.rows, chart.series, title_or(chart.value.label, "value"));
}

Table data_table(const Scatter& chart) {
  Table table;
  table.columns = {{"", false}, {"points", true}, {"mean x", true}, {"mean y", true}};
  for (const Points& group : chart.groups) {
    double x = 0, y = 0;
    int64_t count = 0;
    for (size_t i = 0; i < group.x.size(); ++i) {
      if (!std::isfinite(group.x[i]) || !std::isfinite(group.y[i])) continue;
      x += static_cast<double>(group.x[i]);
      y += static_cast<double>(group.y[i]);
      ++count;
    }
    const auto n = static_cast<double>(count);
    table.rows.push_back({group.name, figure_text(n, 0), value_text(x / n), value_text(y / n)});
  }
  return table;
}

Table data_table(const Histogram& chart) {
  return counts_of(chart.samples);
}
Table data_table(const BoxPlot& chart) {
  return counts_of(chart.rows);
}

Table data_table(const HeatMap& map) {
  Table table;
  table.columns.push_back({map.row_title, false});
  for (const std::string& name : map.columns) table.columns.push_back({name, true});
  for (size_t r = 0; r < map.rows.size(); ++r) {
    table.rows.push_back({Cell(map.rows[r])});
    for (size_t c = 0; c < map.columns.size(); ++c)
      table.rows.back().emplace_back(
          figure_text(map.values[r * map.columns.size() + c], map.decimals));
  }
  return table;
}

Cell difference_cell(double ours, double paper, std::optional<double> spread) {
  const double difference = ours - paper;
  const std::string text = (difference >= 0 ? "+" : "") + figure_text(difference, 1);
  if (!spread || !std::isfinite(difference)) return Cell(text);
  return Cell(text, std::abs(difference) <= *spread ? Tone::inside : Tone::outside);
}

}  // namespace mono::report
