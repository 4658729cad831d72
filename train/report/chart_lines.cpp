// Line charts and histograms.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "kernels/base/error.h"
#include "train/report/plot.h"
#include "train/report/spread.h"

namespace mono::report {
namespace {

void check(const Series& series) {
  MONO_CHECK(series.x.size() == series.y.size() && series.low.size() == series.high.size() &&
                 (series.low.empty() || series.low.size() == series.x.size()),
             "series '{}': {} x, {} y, {} low, {} high", series.name, series.x.size(),
             series.y.size(), series.low.size(), series.high.size());
}

// The places of a curve, at most four for each unit of width: where there are more, the first, the
// least, the greatest and the last of each unit, so that no spike is lost.
struct Place {
  double x, y;
};
std::vector<Place> places(const std::vector<double>& xs, const std::vector<double>& ys,
                          const Scale& x, const Scale& y, double width) {
  std::vector<Place> all;
  for (size_t i = 0; i < xs.size(); ++i) all.push_back({x(xs[i]), y(ys[i])});
  if (static_cast<double>(all.size()) <= 4 * width) return all;
  std::vector<Place> kept;
  for (size_t begin = 0; begin < all.size();) {
    const auto unit = [&](size_t i) {
      return std::isfinite(all[i].x) ? std::floor(all[i].x) : -1e9;
    };
    size_t end = begin, least = begin, greatest = begin;
    bool gap = false;
    for (; end < all.size() && unit(end) == unit(begin); ++end) {
      gap = gap || !std::isfinite(all[end].y);
      if (!(all[least].y <= all[end].y)) least = end;
      if (!(all[greatest].y >= all[end].y)) greatest = end;
    }
    std::vector<size_t> chosen = {begin, least, greatest, end - 1};
    std::ranges::sort(chosen);
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    for (const size_t i : chosen)
      if (std::isfinite(all[i].y)) kept.push_back(all[i]);
    if (gap) kept.push_back({all[end - 1].x, std::nan("")});
    begin = end;
  }
  return kept;
}

std::string curve(const std::vector<Place>& points) {
  std::string data;
  bool pen = false;
  for (const Place& p : points) {
    const bool there = std::isfinite(p.x) && std::isfinite(p.y);
    if (there) {
      data += pen ? 'L' : 'M';
      data += coordinate(p.x) + " " + coordinate(p.y);
    }
    pen = there;
  }
  return data;
}

// Dots where a curve has a single value between gaps, which a line cannot show, or everywhere.
std::string dot_places(const std::vector<Place>& points, bool all) {
  const auto there = [&](size_t i) {
    return i < points.size() && std::isfinite(points[i].x) && std::isfinite(points[i].y);
  };
  std::string data;
  for (size_t i = 0; i < points.size(); ++i)
    if (there(i) && (all || (!there(i + 1) && (i == 0 || !there(i - 1)))))
      data += fmt::format("M{},{}h0", coordinate(points[i].x), coordinate(points[i].y));
  return data;
}

void draw_band(Drawing& drawing, const Series& series, int colour, const Scale& x, const Scale& y) {
  std::vector<Place> edge;
  const auto close = [&](std::vector<Place>& lower) {
    if (edge.size() > 1) {
      edge.insert(edge.end(), lower.rbegin(), lower.rend());
      drawing.path(curve(edge) + "Z", "bd " + fill_of(colour));
    }
    edge.clear();
    lower.clear();
  };
  std::vector<Place> lower;
  for (size_t i = 0; i < series.low.size(); ++i) {
    const bool there = x.shows(series.x[i]) && y.shows(series.low[i]) && y.shows(series.high[i]);
    if (!there) {
      close(lower);
      continue;
    }
    edge.push_back({x(series.x[i]), y(series.high[i])});
    lower.push_back({x(series.x[i]), y(series.low[i])});
  }
  close(lower);
}

// Names at the ends of their curves, moved apart where they would overlap.
struct EndLabel {
  std::string name;
  int colour;
  double y;
};
void draw_end_labels(Drawing& drawing, std::vector<EndLabel> labels, const Plot& plot,
                     double width) {
  constexpr double kRow = 15;
  std::ranges::stable_sort(labels, {}, &EndLabel::y);
  double floor = plot.top;
  for (EndLabel& label : labels) {
    label.y = std::max(label.y, floor);
    floor = label.y + kRow;
  }
  double ceiling = plot.bottom;
  for (auto label = labels.rbegin(); label != labels.rend(); ++label) {
    label->y = std::min(label->y, ceiling);
    ceiling = label->y - kRow;
  }
  for (const EndLabel& label : labels) {
    drawing.circle(plot.right + 9, label.y, 4, fill_of(label.colour));
    drawing.text(plot.right + 17, label.y + 4, fitted(label.name, width - 17, 12.5), "sm");
  }
}

struct Range {
  Extent x, y;
};
Range range_of(const LineChart& chart) {
  Range range;
  Extent least;
  const auto usable = [](const Axis& axis, double value) {
    return std::isfinite(value) && (!axis.log || value > 0);
  };
  for (const Series& series : chart.series) {
    check(series);
    for (size_t i = 0; i < series.x.size(); ++i) {
      if (!usable(chart.x, series.x[i]) || !usable(chart.y, series.y[i])) continue;
      range.x.add(series.x[i]);
      range.y.add(series.y[i]);
      least.add(series.y[i]);
      if (series.low.empty() || !usable(chart.y, series.low[i])) continue;
      range.y.add(series.low[i]);
      range.y.add(series.high[i]);
    }
  }
  // A band may reach below zero where no value can.
  if (least.any && least.low >= 0) range.y.low = std::max(range.y.low, 0.0);
  if (range.y.any)
    for (const Mark& mark : chart.marks)
      if (usable(chart.y, mark.value)) range.y.add(mark.value);
  return range;
}

}  // namespace

Series mean_and_band(std::string name, const std::vector<Series>& curves) {
  std::map<double, std::vector<double>> values;
  for (const Series& curve : curves) {
    check(curve);
    for (size_t i = 0; i < curve.x.size(); ++i)
      if (std::isfinite(curve.x[i]) && std::isfinite(curve.y[i]))
        values[curve.x[i]].push_back(curve.y[i]);
  }
  Series out;
  out.name = std::move(name);
  for (const auto& [x, ys] : values) {
    const Spread spread = spread_of(ys);
    const double sd = spread.sd.value_or(std::nan(""));
    out.x.push_back(x);
    out.y.push_back(spread.mean);
    out.low.push_back(spread.mean - sd);
    out.high.push_back(spread.mean + sd);
  }
  return out;
}

Svg draw(const LineChart& chart) {
  const Range range = range_of(chart);
  if (!range.y.any) return no_data(chart.width, chart.height, chart.title, chart.description);
  Drawing drawing(chart.width, chart.height, chart.title, chart.description);
  Plot plot;
  plot.top = draw_title(drawing, chart.title) + 2;
  plot.bottom = chart.height - (chart.x.label.empty() ? 24 : 44);

  const bool direct = !chart.legend && chart.series.size() > 1 && chart.series.size() <= 8;
  double label_width = 0;
  if (direct)
    for (const Series& series : chart.series)
      label_width = std::max(label_width, text_width(series.name, 12.5) + 22);
  label_width = std::min(label_width, chart.width * 0.3);
  plot.right = chart.width - std::max(label_width, 14.0);
  if (!direct && chart.series.size() > 1) {
    std::vector<LegendEntry> entries;
    for (size_t i = 0; i < chart.series.size(); ++i)
      entries.push_back({chart.series[i].name, colour_at(chart.series[i].colour, i),
                         chart.series[i].dashed, false});
    plot.top = draw_legend(drawing, entries, 0, plot.top, chart.width) + 4;
    plot.bottom = std::max(plot.bottom, plot.top + 40);
  }
  const int rows = std::max(2, static_cast<int>(plot.height() / 45));
  Scale y(chart.y, range.y.low, range.y.high, rows);
  plot.left = y_axis_width(y, chart.y);
  Axis x_axis = chart.x;  // the curves fill the width: no rounding outwards
  if (!x_axis.log && range.x.high > range.x.low) {
    x_axis.low = x_axis.low.value_or(range.x.low);
    x_axis.high = x_axis.high.value_or(range.x.high);
  }
  Scale x(x_axis, range.x.low, range.x.high, std::max(2, static_cast<int>(plot.width() / 80)));
  x.place(plot.left, plot.right);
  y.place(plot.bottom, plot.top);
  draw_y_axis(drawing, plot, y, chart.y);
  draw_x_axis(drawing, plot, x, chart.x);

  drawing.open_window(plot.left - 2, plot.top - 2, plot.width() + 4, plot.height() + 4);
  for (size_t i = 0; i < chart.series.size(); ++i)
    draw_band(drawing, chart.series[i], colour_at(chart.series[i].colour, i), x, y);
  std::vector<EndLabel> labels;
  for (size_t i = 0; i < chart.series.size(); ++i) {
    const Series& series = chart.series[i];
    const std::string stroke = stroke_of(colour_at(series.colour, i));
    const std::vector<Place> points = places(series.x, series.y, x, y, plot.width());
    drawing.path(curve(points), "ln " + stroke + (series.dashed ? " da" : ""));
    drawing.dots(dot_places(points, chart.points), 6, stroke);
    const auto last = std::find_if(points.rbegin(), points.rend(), [](const Place& p) {
      return std::isfinite(p.x) && std::isfinite(p.y);
    });
    if (last != points.rend())
      labels.push_back({series.name, colour_at(series.colour, i), last->y});
  }
  drawing.close_window();
  for (const Mark& mark : chart.marks) {
    if (!y.shows(mark.value)) continue;
    drawing.line(plot.left, y(mark.value), plot.right, y(mark.value), "mk");
    drawing.text(plot.left + 5, y(mark.value) - 5, fitted(mark.label, plot.width() - 10, 12.5),
                 "sm mu halo");
  }
  if (direct) draw_end_labels(drawing, labels, plot, label_width);
  return drawing.finish();
}

namespace {

struct Density {
  std::vector<double> edges;
  std::vector<std::vector<double>> heights;  // of each sample, in 1 / unit of x
  double most = 0;
};

Density densities(const Histogram& chart, const Scale& x) {
  Density out;
  const int bins = std::clamp(chart.bins, 1, 1000);
  const double step = (x.high() - x.low()) / bins;
  for (int i = 0; i <= bins; ++i) out.edges.push_back(x.low() + step * i);
  for (const Sample& sample : chart.samples) {
    std::vector<double> counts(static_cast<size_t>(bins), 0);
    double all = 0;
    for (const double value : sample.values) {
      if (!std::isfinite(value)) continue;
      ++all;
      const double place = std::floor((value - x.low()) / step);
      if (place >= 0 && value <= x.high())
        ++counts[static_cast<size_t>(std::min<double>(place, bins - 1))];
    }
    for (double& count : counts) {
      count = all > 0 ? count / all / step : 0;
      out.most = std::max(out.most, count);
    }
    out.heights.push_back(std::move(counts));
  }
  return out;
}

}  // namespace

Svg draw(const Histogram& chart) {
  Extent extent;
  for (const Sample& sample : chart.samples) extent.add_all(sample.values);
  if (!extent.any) return no_data(chart.width, chart.height, chart.title, chart.description);
  Drawing drawing(chart.width, chart.height, chart.title, chart.description);
  Plot plot;
  plot.top = draw_title(drawing, chart.title) + 2;
  if (chart.samples.size() > 1) {
    std::vector<LegendEntry> entries;
    for (size_t i = 0; i < chart.samples.size(); ++i)
      entries.push_back(
          {chart.samples[i].name, colour_at(chart.samples[i].colour, i), false, true});
    plot.top = draw_legend(drawing, entries, 0, plot.top, chart.width) + 4;
  }
  plot.bottom = chart.height - (chart.x.label.empty() ? 24 : 44);
  plot.right = chart.width - 14;
  Axis x_axis = chart.x;
  x_axis.log = false;
  Scale x(x_axis, extent.low, extent.high, std::max(2, static_cast<int>(chart.width / 90)));
  const Density density = densities(chart, x);
  const Axis y_axis{.label = "density", .low = 0};
  Scale y(y_axis, 0, density.most, std::max(2, static_cast<int>(plot.height() / 55)));
  plot.left = y_axis_width(y, y_axis);
  x.place(plot.left, plot.right);
  y.place(plot.bottom, plot.top);
  draw_y_axis(drawing, plot, y, y_axis);
  draw_x_axis(drawing, plot, x, x_axis);
  for (size_t s = 0; s < chart.samples.size(); ++s) {
    const int colour = colour_at(chart.samples[s].colour, s);
    std::string data = "M" + coordinate(x(density.edges[0])) + " " + coordinate(plot.bottom);
    for (size_t i = 0; i < density.heights[s].size(); ++i)
      data +=
          "V" + coordinate(y(density.heights[s][i])) + "H" + coordinate(x(density.edges[i + 1]));
    data += "V" + coordinate(plot.bottom);
    drawing.path(data + "Z", "bd " + fill_of(colour));
    drawing.path(data, "ln th " + stroke_of(colour));
  }
  return drawing.finish();
}

}  // namespace mono::report
