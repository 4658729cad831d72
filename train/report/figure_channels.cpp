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

void check_shapes(const ChannelAccuracies& method) {
  const size_t channels = method.names.size();
  MONO_CHECK(channels >= 1 && channels <= 16 && method.accuracy.size() == size_t{1} << channels &&
                 (method.spread.empty() || method.spread.size() == method.accuracy.size()),
             "'{}': {} accuracies of subsets of {} channels", method.title, method.accuracy.size(),
             channels);
}

// Small sets first; of equal size the more accurate first, those that were not run last.
std::vector<size_t> ordered_subsets(const ChannelAccuracies& method) {
  std::vector<size_t> subsets(method.accuracy.size() - 1);
  std::iota(subsets.begin(), subsets.end(), size_t{1});
  const auto falling = [&](size_t s) {
    return std::isfinite(method.accuracy[s]) ? -method.accuracy[s] : HUGE_VAL;
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
  ChannelAccuracies method{std::move(title), std::move(names), {}, {}};
  method.accuracy.assign(size_t{1} << method.names.size(), NAN);
  method.spread = method.accuracy;
  method.accuracy[0] = chance;
  for (size_t s = 1; s < method.accuracy.size(); ++s) {
    const auto found = seeds.find(digits(s));
    if (found == seeds.end() || found->second.empty()) continue;
    const std::vector<double>& values = found->second;
    const double count = static_cast<double>(values.size());
    const double mean = std::accumulate(values.begin(), values.end(), 0.0) / count;
    double squares = 0;
    for (const double value : values) squares += (value - mean) * (value - mean);
    method.accuracy[s] = mean;
    if (count > 1) method.spread[s] = std::sqrt(squares / (count - 1));
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
  for (const ChannelAccuracies& method : methods) {
    check_shapes(method);
    for (size_t s = 0; s < method.accuracy.size(); ++s)
      if (!std::isfinite(method.accuracy[s]))
        fail(ErrorKind::data,
             "Shapley values of '{}' take a run on every subset of the channels; {} was not run",
             method.title, s == 0 ? "the empty one (chance)" : "channels " + digits(s));
    const std::vector<double> values = shapley_values(method.accuracy);
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
    numbers["full"] = method.accuracy.back();
    numbers["chance"] = method.accuracy.front();
    figure.numbers["methods"].push_back(std::move(numbers));
    sums += fmt::format("{}{}: {} = {} − {} (chance)", sums.empty() ? "" : "; ", method.title,
                        figure_text(100 * std::accumulate(values.begin(), values.end(), 0.0), 2),
                        figure_text(100 * method.accuracy.back(), 2),
                        figure_text(100 * method.accuracy.front(), 2));
  }
  chart.decimals = 1;
  figure.panels.push_back(draw(chart));
  figure.caption = fmt::format(
      "Shapley value of each channel for the accuracy on unseen experiments, exact over all "
      "subsets "
      "of the channels, one training each. They sum to the full model's accuracy minus chance: {}.",
      sums);
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
  figure.table.columns = {{"channels", false}, {"accuracy (%)", true}, {"sd", true}};
  figure.numbers["method"] = method.title;
  figure.numbers["channels"] = method.names;
  figure.numbers["subsets"] = Json::array();

  Extent extent;
  const auto spread_of = [&](size_t s) {
    return method.spread.empty() || !std::isfinite(method.spread[s]) ? 0 : method.spread[s];
  };
  size_t missing = 0, best = 0;
  for (const size_t s : subsets) {
    const double accuracy = method.accuracy[s];
    Json numbers = Json::object();
    numbers["channels"] = digits(s);
    numbers["accuracy"] = accuracy;
    if (!method.spread.empty()) numbers["spread"] = method.spread[s];
    figure.numbers["subsets"].push_back(std::move(numbers));
    figure.table.rows.push_back(
        {digits(s), figure_text(100 * accuracy, 1),
         method.spread.empty() ? "–" : figure_text(100 * method.spread[s], 1)});
    missing += !std::isfinite(accuracy);
    if (!std::isfinite(accuracy)) continue;
    extent.add(100 * (accuracy - spread_of(s)));
    extent.add(100 * (accuracy + spread_of(s)));
    if (best == 0 || accuracy > method.accuracy[best]) best = s;
  }
  figure.caption = fmt::format(
      "{}: accuracy on unseen experiments with each of the {} subsets of {} channels, one training "
      "each; below, which channels a subset holds. By size, within a size by accuracy.",
      method.title, full, channels);
  if (best != 0)
    figure.caption += fmt::format(" Best: channels {} with {} %; all channels: {} %.", digits(best),
                                  figure_text(100 * method.accuracy[best], 1),
                                  figure_text(100 * method.accuracy[full], 1));
  if (missing > 0) figure.caption += fmt::format(" {} subsets were not run.", missing);
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
  if (std::isfinite(method.accuracy[full])) {
    const double all = y(100 * method.accuracy[full]);
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
    const double accuracy = method.accuracy[s];
    if (!std::isfinite(accuracy)) continue;
    const std::string tip = fmt::format("{}: {} %", digits(s), figure_text(100 * accuracy, 1));
    if (spread_of(s) > 0)
      drawing.line(x, y(100 * (accuracy - spread_of(s))), x, y(100 * (accuracy + spread_of(s))),
                   "er s0");
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
  size_t fewest = SIZE_MAX, most = 0;
  for (const AccuracyCurves& method : methods) {
    std::vector<Series> curves;
    Json numbers = Json::object();
    numbers["method"] = method.title;
    numbers["curves"] = Json::array();
    for (const AccuracyCurves::Curve& curve : method.seeds) {
      Series series{.name = method.title, .x = curve.epoch, .y = curve.accuracy};
      for (double& value : series.y) value *= 100;
      curves.push_back(std::move(series));
      Json one = Json::object();
      one["seed"] = curve.seed;
      one["epoch"] = curve.epoch;
      one["accuracy"] = curve.accuracy;
      numbers["curves"].push_back(std::move(one));
    }
    Series band = mean_and_band(method.title, curves);
    fewest = std::min(fewest, curves.size());
    most = std::max(most, curves.size());
    if (!band.y.empty()) {
      const double sd = band.high.empty() ? NAN : band.high.back() - band.y.back();
      figure.table.rows.push_back({method.title, fmt::to_string(curves.size()),
                                   short_text(band.x.back()), figure_text(band.y.back(), 1),
                                   curves.size() > 1 ? figure_text(sd, 1) : "–"});
      numbers["epoch"] = band.x;
      numbers["mean_percent"] = band.y;
      if (curves.size() > 1) numbers["high_percent"] = band.high;
    }
    figure.numbers["methods"].push_back(std::move(numbers));
    chart.series.push_back(std::move(band));
  }
  figure.panels.push_back(draw(chart));
  const std::string seeds = most == 0        ? "no runs"
                            : fewest == most ? fmt::format("{} seed{}", most, most == 1 ? "" : "s")
                                             : fmt::format("{} to {} seeds", fewest, most);
  figure.caption = fmt::format(
      "Accuracy on the test images after each epoch of training: {} of {}. It decides nothing: the "
      "last epoch stands for a run.",
      most > 1 ? "mean, and a band of one standard deviation," : "one curve", seeds);
  return figure;
}

}  // namespace mono::report
