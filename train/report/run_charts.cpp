#include "train/report/run_charts.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <set>

namespace mono::report {
namespace {

constexpr int64_t kPoints = 200;  // a curve
constexpr double kSmallWidth = 430, kSmallHeight = 250;
constexpr size_t kMostOthers = 6;

struct LoggedColumn {
  const char* key;
  const char* title;
  const char* label;
  double scale;
};
// What everybody looks at first; the other columns of a log follow by name.
constexpr LoggedColumn kFirst[] = {
    {"loss", "Loss", "loss", 1},
    {"accuracy", "Accuracy on training images", "percent", 100},
    {"batch_accuracy", "Batch accuracy on training images", "percent", 100},
    {"lr", "Learning rate", "learning rate", 1},
    {"images_per_s", "Speed", "images/s", 1},
    {"gradient_norm", "Gradient norm", "norm", 1}};
// Shown elsewhere, or of no interest as a curve.
constexpr std::string_view kHidden[] = {"target_loss", "data_wait", "memory_mb",
                                        "eta_s",       "ranks",     "batch_loss"};

std::string split_of(const Recipe& recipe) {
  return recipe.batch.form == BatchForm::groups && recipe.data.split == SplitBy::stratified
             ? "stratified"
             : "separated";
}

// Where all curves have their points: bins of `window` steps, counted in epochs of `epoch` steps
// that stand for each run's own.
struct Grid {
  int64_t window = 1;
  double epoch = 1;
  bool in_epochs = false;

  // Steps of the grid for one of the run's.
  double unit(const RunRecord& run) const {
    return in_epochs ? epoch / static_cast<double>(run.epoch_steps) : 1;
  }
  int64_t bin(const RunRecord& run, double step) const {
    return static_cast<int64_t>(std::floor((step - 0.5) * unit(run) / static_cast<double>(window)));
  }
  // The middle of the bin's steps, but not beyond the run's last one.
  double x(const RunRecord& run, int64_t bin) const {
    const auto steps = static_cast<double>(window);
    const double last =
        run.metrics.step.back() / (in_epochs ? static_cast<double>(run.epoch_steps) : 1);
    return std::min((static_cast<double>(bin) * steps + (steps + 1) / 2) / epoch, last);
  }
};

Grid grid_of(const std::vector<CurveGroup>& groups) {
  Grid grid{.in_epochs = true};
  std::vector<const RunRecord*> runs;
  for (const CurveGroup& group : groups)
    for (const RunRecord* run : group.runs)
      if (run->metrics.rows() > 0) runs.push_back(run);
  for (const RunRecord* run : runs) grid.in_epochs = grid.in_epochs && run->epoch_steps > 0;
  // The shortest epoch: every run then has a step in every bin.
  if (grid.in_epochs && !runs.empty())
    grid.epoch = static_cast<double>(
        (*std::ranges::min_element(runs, {}, &RunRecord::epoch_steps))->epoch_steps);
  double most = 0;
  for (const RunRecord* run : runs)
    most = std::max(most,
                    grid.unit(*run) * static_cast<double>(std::max(run->total_steps, run->steps)));
  grid.window = std::max<int64_t>(1, std::llround(std::ceil(most / kPoints)));
  return grid;
}

std::string point_text(const std::vector<CurveGroup>& groups, const Grid& grid) {
  for (const CurveGroup& group : groups)
    for (const RunRecord* run : group.runs)
      if (run->metrics.rows() > 0 && grid.unit(*run) != 1)
        return fmt::format("Each point is the mean of {} epochs.",
                           short_text(static_cast<double>(grid.window) / grid.epoch, 2));
  return grid.window > 1 ? fmt::format("Each point is the mean of {} steps.", grid.window)
                         : "Each point is a step.";
}

Series curve_of(const RunRecord& run, const std::string& key, double scale, const Grid& grid) {
  Series out;
  const std::vector<double>* values = run.metrics.column(key);
  if (!values) return out;
  double sum = 0;
  int64_t count = 0, bin = -1;
  const auto close = [&] {
    if (count > 0) {
      out.x.push_back(grid.x(run, bin));
      out.y.push_back(scale * sum / static_cast<double>(count));
    }
    sum = 0;
    count = 0;
  };
  for (size_t i = 0; i < values->size(); ++i) {
    const int64_t at = grid.bin(run, run.metrics.step[i]);
    if (at != bin) close();
    bin = at;
    if (!std::isfinite((*values)[i])) continue;
    sum += (*values)[i];
    ++count;
  }
  close();
  return out;
}

LineChart chart_of(const std::vector<CurveGroup>& groups, const std::string& key,
                   const std::string& title, const std::string& label, double scale,
                   const Grid& grid) {
  LineChart chart;
  chart.title = title;
  chart.description =
      fmt::format("{} while training, against {}.", title, grid.in_epochs ? "epochs" : "steps");
  chart.x.label = grid.in_epochs ? "epoch" : "step";
  chart.y.label = label;
  chart.legend = true;
  chart.width = kSmallWidth;
  chart.height = kSmallHeight;
  for (size_t g = 0; g < groups.size(); ++g) {
    std::vector<Series> curves;
    for (const RunRecord* run : groups[g].runs) {
      Series curve = curve_of(*run, key, scale, grid);
      if (!curve.x.empty()) curves.push_back(std::move(curve));
    }
    if (curves.empty()) continue;
    Series series;
    if (curves.size() == 1) {
      series = std::move(curves.front());
      series.name = groups[g].title;
    } else {
      series = mean_and_band(groups[g].title, curves);
    }
    series.colour = static_cast<int>(g % kColours);
    chart.series.push_back(std::move(series));
  }
  return chart;
}

}  // namespace

std::vector<CurveGroup> groups_of(const Comparison& comparison, const std::string& split) {
  std::vector<CurveGroup> groups;
  for (const ComparisonRow& row : comparison.rows) {
    if (row.control) continue;
    CurveGroup group{row.title, {}};
    for (const RunRecord* run : row.runs)
      if (run->recipe && split_of(*run->recipe) == split &&
          std::ranges::find(group.runs, run) == group.runs.end())
        group.runs.push_back(run);
    if (!group.runs.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

CurveCharts training_charts(const std::vector<CurveGroup>& groups) {
  CurveCharts out;
  const Grid grid = grid_of(groups);
  out.points = point_text(groups, grid);
  std::set<std::string> others;
  for (const CurveGroup& group : groups)
    for (const RunRecord* run : group.runs)
      for (const auto& [key, column] : run->metrics.columns) others.insert(key);
  const auto add = [&](const std::string& key, const std::string& title, const std::string& label,
                       double scale) {
    others.erase(key);
    LineChart chart = chart_of(groups, key, title, label, scale, grid);
    const bool moves = std::ranges::any_of(chart.series, [](const Series& series) {
      return std::ranges::any_of(series.y, [](double y) { return y != 0; });
    });
    if (moves) out.charts.push_back(std::move(chart));
  };
  for (const LoggedColumn& column : kFirst)
    add(column.key, column.title, column.label, column.scale);
  for (const std::string_view key : kHidden) others.erase(std::string(key));
  size_t count = 0;
  for (const std::string& key : std::set<std::string>(others)) {
    if (count++ == kMostOthers) break;
    std::string title = key;
    std::ranges::replace(title, '_', ' ');
    add(key, title, title, 1);
  }
  return out;
}

LineChart validation_chart(const std::vector<CurveGroup>& groups) {
  LineChart chart;
  chart.title = "k-NN accuracy on validation images";
  chart.description = "Accuracy of nearest neighbours among the training images, by epoch.";
  chart.x.label = "epoch";
  chart.y.label = "percent";
  chart.points = true;
  for (size_t g = 0; g < groups.size(); ++g) {
    std::vector<Series> curves;
    for (const RunRecord* run : groups[g].runs) {
      const std::vector<double>* values = run->validation.column("knn_accuracy");
      if (!values) continue;
      Series curve;
      curve.x = run->validation.epoch;
      for (const double value : *values) curve.y.push_back(100 * value);
      curves.push_back(std::move(curve));
    }
    if (curves.empty()) continue;
    Series series = curves.size() == 1 ? std::move(curves.front()) : mean_and_band("", curves);
    series.name = groups[g].title;
    series.colour = static_cast<int>(g % kColours);
    chart.series.push_back(std::move(series));
  }
  return chart;
}

ExperimentCharts experiment_charts(const Comparison& comparison) {
  constexpr size_t kMostBars = 60;
  ExperimentCharts out;
  for (const char* split : {"separated", "stratified"}) {
    std::map<std::string, std::map<std::string, std::vector<double>>> values;  // experiment, title
    std::vector<std::string> titles;
    for (const ComparisonRow& row : comparison.rows)
      for (const EvaluationRecord* evaluation : row.evaluations) {
        if (evaluation->split != split || evaluation->on_training_images) continue;
        if (std::ranges::find(titles, row.title) == titles.end()) titles.push_back(row.title);
        for (const auto& [experiment, value] : evaluation->by_experiment)
          values[experiment][row.title].push_back(value);
      }
    if (values.empty()) continue;
    out.split = split;
    std::vector<std::string> experiments;
    for (const auto& [experiment, of] : values) experiments.push_back(experiment);
    const std::string title = "Accuracy by experiment";
    if (experiments.size() * titles.size() <= kMostBars) {
      out.bars.title = title;
      out.bars.value.label = "percent";
      out.bars.horizontal = false;
      out.bars.categories = experiments;
      if (comparison.chance > 0)
        out.bars.marks = {
            {comparison.chance, fmt::format("chance {}", figure_text(comparison.chance, 1))}};
      for (const std::string& method : titles) {
        Bars bars{.name = method};
        for (const std::string& experiment : experiments) {
          const Spread spread = spread_of(values[experiment][method]);
          bars.values.push_back(spread.mean);
          bars.errors.push_back(spread.sd.value_or(std::nan("")));
        }
        out.bars.series.push_back(std::move(bars));
      }
    } else {
      out.map.title = title;
      out.map.rows = experiments;
      out.map.columns = titles;
      out.map.unit = "percent";
      out.map.print_values = true;
      out.map.decimals = 1;
      for (const std::string& experiment : experiments)
        for (const std::string& method : titles)
          out.map.values.push_back(spread_of(values[experiment][method]).mean);
    }
    return out;
  }
  return out;
}

}  // namespace mono::report
