// RxRx1, Figures 8 and 9.
#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <numeric>

#include "kernels/base/error.h"
#include "train/evaluate/shapley.h"
#include "train/report/chart.h"
#include "train/report/figures.h"
#include "train/report/plot.h"

namespace mono::report {
namespace {

// "123": the channels of a subset, as recipes name it.
std::string digits(size_t subset) {
  std::string text;
  for (int c = 0; subset >> c; ++c)
    if (subset >> c & 1) text += fmt::to_string(c + 1);
  return text;
}

// How many runs are behind each of several figures: "1 seed", "2 to 3 seeds".
class SeedCount {
 public:
  void add(size_t seeds) {
    fewest_ = std::min(fewest_, seeds);
    most_ = std::max(most_, seeds);
  }
  size_t most() const { return most_; }
  std::string text() const {
    if (most_ == 0) return "no runs";
    if (fewest_ < most_) return fmt::format("{} to {} seeds", fewest_, most_);
    return fmt::format("{} seed{}", most_, most_ == 1 ? "" : "s");
  }

 private:
  size_t fewest_ = SIZE_MAX, most_ = 0;
};

void check_shapes(const ChannelAccuracies& method) {
  const size_t channels = method.names.size();
  MONO_CHECK(channels >= 1 && channels <= 16 && method.accuracy.size() == size_t{1} << channels,
             "'{}': {} accuracies of subsets of {} channels", method.title, method.accuracy.size(),
             channels);
}

// Small sets first; of equal size the more accurate first, those that were not run last.
std::vector<size_t> ordered_subsets(const ChannelAccuracies& method) {
  std::vector<size_t> subsets(method.accuracy.size() - 1);
  std::iota(subsets.begin(), subsets.end(), size_t{1});
  const auto falling = [&](size_t s) {
    return method.accuracy[s].count > 0 ? -method.accuracy[s].mean : HUGE_VAL;
  };
  std::ranges::stable_sort(subsets, [&](size_t a, size_t b) {
    return std::pair(std::popcount(a), falling(a)) < std::pair(std::popcount(b), falling(b));
  });
  return subsets;
}

}  // namespace

ChannelAccuracies channel_accuracies(std::string title, std::vector<std::string> names,
                                     double chance,
                                     const std::map<std::string, std::vector<double>>& seeds) {
  ChannelAccuracies method{std::move(title), std::move(names), {spread_of({chance})}};
  for (size_t s = 1; s < size_t{1} << method.names.size(); ++s) {
    const auto found = seeds.find(digits(s));
    method.accuracy.push_back(
        spread_of(found == seeds.end() ? std::vector<double>() : found->second));
  }
  return method;
}

Figure shapley_figure(std::span<const ChannelAccuracies> methods) {
  Figure figure;
  figure.name = "rxrx1_fig8";
  figure.title = "What each channel brings";
  figure.table.caption = "Shapley values, in points of accuracy";
  figure.table.columns = {{"", false}};
  figure.numbers["methods"] = Json::array();
  BarChart chart;
  chart.title = figure.title;
  chart.value.label = "Shapley value (points of accuracy)";
  std::string sums;
  SeedCount seeds;
  for (const ChannelAccuracies& method : methods) {
    check_shapes(method);
    std::vector<double> accuracy;
    for (size_t s = 0; s < method.accuracy.size(); ++s) {
      if (method.accuracy[s].count == 0)
        fail(ErrorKind::data,
             "Shapley values of '{}' take a run on every subset of the channels; {} was not run",
             method.title, s == 0 ? "the empty one (chance)" : "channels " + digits(s));
      accuracy.push_back(method.accuracy[s].mean);
      if (s > 0) seeds.add(method.accuracy[s].count);
    }
    const std::vector<double> values = shapley_values(accuracy);
    if (chart.categories.empty()) {
      chart.categories = method.names;
      for (const std::string& name : method.names) figure.table.rows.push_back({Cell(name)});
    }
    MONO_CHECK(chart.categories == method.names, "'{}' has other channels than '{}'", method.title,
               methods.front().title);
    Bars bars{.name = method.title};
    for (const double value : values) bars.values.push_back(100 * value);
    figure.table.columns.push_back({method.title, true});
    for (size_t c = 0; c < values.size(); ++c)
      figure.table.rows[c].push_back(figure_text(bars.values[c], 2));
    chart.series.push_back(std::move(bars));

    Json numbers = Json::object();
    numbers["method"] = method.title;
    numbers["channels"] = method.names;
    numbers["shapley"] = values;
    numbers["full"] = accuracy.back();
    numbers["chance"] = accuracy.front();
    figure.numbers["methods"].push_back(std::move(numbers));
    sums +=
        fmt::format("{}{}: {} = {} − {} (chance)", sums.empty() ? "" : "; ", method.title,
                    figure_text(100 * std::accumulate(values.begin(), values.end(), 0.0), 2),
                    figure_text(100 * accuracy.back(), 2), figure_text(100 * accuracy.front(), 2));
  }
  chart.decimals = 1;
  figure.panels.push_back(draw(chart));
  figure.caption = fmt::format(
      "Shapley value of each channel for the accuracy on unseen experiments, exact over all "
      "subsets of the channels ({} of each). They sum to the full model's accuracy minus chance: "
      "{}.",
      seeds.text(), sums);
  return figure;
}

Figure channel_subsets_figure(const ChannelAccuracies& method) {
  check_shapes(method);
  const std::vector<size_t> subsets = ordered_subsets(method);
  const size_t channels = method.names.size(), full = method.accuracy.size() - 1;
  Figure figure;
  figure.name = "rxrx1_fig9";
  figure.title = "Accuracy with each subset of the channels";
  figure.table.caption = figure.title;
  figure.table.columns = {
      {"channels", false}, {"accuracy (%)", true}, {"sd", true}, {"seeds", true}};
  figure.numbers["method"] = method.title;
  figure.numbers["channels"] = method.names;
  figure.numbers["subsets"] = Json::array();

  Extent extent;
  size_t missing = 0, best = 0;
  bool repeated = false;
  SeedCount seeds;
  for (const size_t s : subsets) {
    const Spread& accuracy = method.accuracy[s];
    Json numbers = Json::object();
    numbers["channels"] = digits(s);
    numbers["accuracy"] = accuracy.mean;
    numbers["seeds"] = static_cast<int64_t>(accuracy.count);
    if (accuracy.sd) numbers["sd"] = *accuracy.sd;
    figure.numbers["subsets"].push_back(std::move(numbers));
    figure.table.rows.push_back({digits(s), figure_text(100 * accuracy.mean, 1),
                                 accuracy.sd ? figure_text(100 * *accuracy.sd, 1) : "–",
                                 fmt::to_string(accuracy.count)});
    if (accuracy.count == 0) {
      ++missing;
      continue;
    }
    seeds.add(accuracy.count);
    repeated |= accuracy.sd.has_value();
    extent.add(100 * (accuracy.mean - accuracy.sd.value_or(0)));
    extent.add(100 * (accuracy.mean + accuracy.sd.value_or(0)));
    if (best == 0 || accuracy.mean > method.accuracy[best].mean) best = s;
  }
  figure.caption = fmt::format(
      "{}: accuracy on unseen experiments with each of the {} subsets of {} channels ({} of "
      "each{}); "
      "below, which channels a subset holds. By size, within a size by accuracy.",
      method.title, full, channels, seeds.text(), repeated ? "; bars: one standard deviation" : "");
  if (best != 0)
    figure.caption += fmt::format(" Best: channels {} with {} %; all channels: {} %.", digits(best),
                                  figure_text(100 * method.accuracy[best].mean, 1),
                                  figure_text(100 * method.accuracy[full].mean, 1));
  if (missing > 0)
    figure.caption += missing == 1 ? " One subset was not run."
                                   : fmt::format(" {} subsets were not run.", missing);
  if (!extent.any) {
    figure.panels.push_back(no_data(720, 120, figure.title, figure.caption));
    return figure;
  }

  // The plot above, a row for each channel below, a column for each subset.
  constexpr double kRow = 17, kPlotHeight = 230;
  double names_width = 0;
  for (const std::string& name : method.names)
    names_width = std::max(names_width, text_width(name, 12));
  const double column = std::clamp(700.0 / static_cast<double>(subsets.size()), 11.0, 46.0);
  const double left = std::max(names_width + 16, 60.0);
  const double width = left + column * static_cast<double>(subsets.size()) + 8;
  Drawing drawing(width, kPlotHeight + kRow * static_cast<double>(channels) + 50, figure.title,
                  figure.caption);
  Plot plot{left, draw_title(drawing, method.title), width - 8, kPlotHeight + 24};
  const Axis axis{.label = "accuracy (%)"};
  Scale y(axis, extent.low, extent.high, 5);
  y.place(plot.bottom, plot.top);
  draw_y_axis(drawing, plot, y, axis);
  if (method.accuracy[full].count > 0) {
    const double all = y(100 * method.accuracy[full].mean);
    drawing.line(plot.left, all, plot.right, all, "mk");
    drawing.text(plot.left + 4, all - 5, "all channels", "xs mu");
  }
  const double matrix = plot.bottom + 16, radius = std::min(4.5, column * 0.36);
  for (size_t c = 0; c < channels; ++c)
    drawing.text(left - 10, matrix + kRow * static_cast<double>(c) + 4, method.names[c], "sm",
                 Anchor::end);
  for (size_t i = 0; i < subsets.size(); ++i) {
    const size_t s = subsets[i];
    const double x = left + column * (static_cast<double>(i) + 0.5);
    if (i > 0 && std::popcount(s) != std::popcount(subsets[i - 1]))
      drawing.line(x - column / 2, plot.top, x - column / 2,
                   matrix + kRow * static_cast<double>(channels) - 8, "gr");
    size_t first = channels, last = 0;
    for (size_t c = 0; c < channels; ++c) {
      if (!(s >> c & 1)) continue;
      first = std::min(first, c);
      last = c;
    }
    drawing.line(x, matrix + kRow * static_cast<double>(first), x,
                 matrix + kRow * static_cast<double>(last), "ln th s7");
    for (size_t c = 0; c < channels; ++c) {
      const double at = matrix + kRow * static_cast<double>(c);
      if (s >> c & 1)
        drawing.circle(x, at, radius, "f7");
      else
        drawing.circle(x, at, radius * 0.55, "f7 bd");
    }
    const auto& [accuracy, sd, count] = method.accuracy[s];
    if (count == 0) continue;
    const std::string tip = fmt::format("{}: {} %", digits(s), figure_text(100 * accuracy, 1));
    if (sd) drawing.line(x, y(100 * (accuracy - *sd)), x, y(100 * (accuracy + *sd)), "er s0");
    drawing.circle(x, y(100 * accuracy), std::min(5.0, column * 0.4), s == best ? "f1" : "f0", tip);
  }
  figure.panels.push_back(drawing.finish());
  return figure;
}

Figure accuracy_curves_figure(std::span<const AccuracyCurves> methods) {
  Figure figure;
  figure.name = "rxrx1_fig10";
  figure.title = "Test accuracy after each epoch";
  figure.table.caption = "After the last epoch";
  figure.table.columns = {
      {"", false}, {"seeds", true}, {"epoch", true}, {"mean (%)", true}, {"sd", true}};
  figure.numbers["methods"] = Json::array();
  LineChart chart;
  chart.title = figure.title;
  chart.x.label = "epoch";
  chart.y.label = "accuracy on unseen experiments (%)";
  SeedCount seeds;
  for (const AccuracyCurves& method : methods) {
    std::vector<Series> curves;
    double last = -HUGE_VAL;
    Json numbers = Json::object();
    numbers["method"] = method.title;
    numbers["curves"] = Json::array();
    for (const AccuracyCurves::Curve& curve : method.seeds) {
      Series series{.name = method.title, .x = curve.epoch, .y = curve.accuracy};
      for (double& value : series.y) value *= 100;
      if (!curve.epoch.empty()) {
        last = std::max(last, curve.epoch.back());
        curves.push_back(std::move(series));
      }
      Json one = Json::object();
      one["seed"] = curve.seed;
      one["epoch"] = curve.epoch;
      one["accuracy"] = curve.accuracy;
      numbers["curves"].push_back(std::move(one));
    }
    seeds.add(curves.size());
    if (!curves.empty()) {
      std::vector<double> values;  // of the seeds that came so far
      for (const Series& curve : curves)
        if (curve.x.back() == last) values.push_back(curve.y.back());
      const Spread end = spread_of(values);
      figure.table.rows.push_back({method.title, fmt::to_string(end.count), short_text(last),
                                   figure_text(end.mean, 1),
                                   end.sd ? figure_text(*end.sd, 1) : "–"});
      numbers["last_epoch"] = last;
      numbers["seeds"] = static_cast<int64_t>(end.count);
      numbers["mean_percent"] = end.mean;
      if (end.sd) numbers["sd_percent"] = *end.sd;
    }
    figure.numbers["methods"].push_back(std::move(numbers));
    chart.series.push_back(mean_and_band(method.title, curves));
  }
  figure.panels.push_back(draw(chart));
  figure.caption = fmt::format(
      "Accuracy on the test images after each epoch of training: {} of {}. It decides nothing: the "
      "last epoch stands for a run.",
      seeds.most() > 1 ? "mean, and a band of one standard deviation," : "one curve", seeds.text());
  return figure;
}

}  // namespace mono::report
