// Bars, dots with error bars, boxes: figures of named things.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "train/report/plot.h"

namespace mono::report {
namespace {

double error_at(const std::vector<double>& errors, size_t i) {
  const double error = i < errors.size() ? errors[i] : 0;
  return std::isfinite(error) ? error : 0;
}

template <class Group>
void check(const Group& group, size_t count) {
  MONO_CHECK(group.values.size() == count && (group.errors.empty() || group.errors.size() == count),
             "'{}': {} values, {} errors, {} names", group.name, group.values.size(),
             group.errors.size(), count);
}

template <class Group>
std::vector<LegendEntry> legend_of(const std::vector<Group>& groups) {
  std::vector<LegendEntry> entries;
  if (groups.size() < 2) return entries;
  for (size_t i = 0; i < groups.size(); ++i)
    entries.push_back({groups[i].name, colour_at(groups[i].colour, i), false, true});
  return entries;
}

double name_width(const std::vector<std::string>& names, double most) {
  double width = 0;
  for (const std::string& name : names) width = std::max(width, text_width(name, 13.5));
  return std::min(width, most);
}

// "62.0 ± 1.3"
std::string text_of(double value, double error, int decimals) {
  return error > 0 ? figure_text(value, decimals) + " ± " + figure_text(error, decimals)
                   : figure_text(value, decimals);
}

void draw_error(Drawing& drawing, const Scale& scale, double value, double error, double across,
                bool horizontal, const std::string& style) {
  if (!(error > 0)) return;
  const double a = scale(value - error), b = scale(value + error);
  const auto stroke = [&](double u1, double v1, double u2, double v2) {
    if (horizontal)
      drawing.line(u1, v1, u2, v2, style);
    else
      drawing.line(v1, u1, v2, u2, style);
  };
  stroke(a, across, b, across);
  stroke(a, across - 3, a, across + 3);
  stroke(b, across - 3, b, across + 3);
}

// Vertical marks of charts whose rows lie; their names above the plot.
void draw_marks(Drawing& drawing, const std::vector<Mark>& marks, const Scale& x,
                const Plot& plot) {
  for (const Mark& mark : marks) {
    if (!x.shows(mark.value)) continue;
    const double at = x(mark.value);
    drawing.line(at, plot.top - 4, at, plot.bottom, "mk");
    const double half = text_width(mark.label, 12.5) / 2;
    drawing.text(std::clamp(at, half, std::max(drawing.width() - half, half)), plot.top - 8,
                 mark.label, "sm mu", Anchor::middle);
  }
}

Extent extent_of(const std::vector<Mark>& marks) {
  Extent extent;
  for (const Mark& mark : marks) extent.add(mark.value);
  return extent;
}

Svg draw_horizontal(const BarChart& chart, const Axis& axis, const Extent& extent) {
  constexpr double kBar = 18, kGap = 12;
  const double group = kBar * static_cast<double>(chart.series.size()) + kGap;
  const std::vector<LegendEntry> legend = legend_of(chart.series);
  const double head =
      (chart.title.empty() ? 6 : 28) + (legend.empty() ? 0 : 26) + (chart.marks.empty() ? 0 : 18);
  const double height = head + group * static_cast<double>(chart.categories.size()) + 44;
  Drawing drawing(chart.width, height, chart.title, chart.description);
  Plot plot;
  plot.top = draw_title(drawing, chart.title);
  if (!legend.empty()) plot.top = draw_legend(drawing, legend, 0, plot.top, chart.width) + 2;
  plot.top = std::max(plot.top, head);
  plot.left = name_width(chart.categories, chart.width * 0.4) + 10;
  double text_room = 14;
  for (const Bars& bars : chart.series)
    for (size_t i = 0; i < bars.values.size() && chart.decimals >= 0; ++i)
      text_room = std::max(
          text_room,
          12 + text_width(text_of(bars.values[i], error_at(bars.errors, i), chart.decimals), 12.5));
  plot.right = chart.width - text_room;
  plot.bottom = height - 44;
  Scale x(axis, extent.low, extent.high, std::max(2, static_cast<int>(plot.width() / 80)));
  x.place(plot.left, plot.right);
  draw_x_axis(drawing, plot, x, axis);
  draw_marks(drawing, chart.marks, x, plot);
  const double zero = x(std::clamp(0.0, x.low(), x.high()));
  for (size_t c = 0; c < chart.categories.size(); ++c) {
    const double y = plot.top + group * static_cast<double>(c) + kGap / 2;
    drawing.text(plot.left - 8, y + (group - kGap) / 2 + 4,
                 fitted(chart.categories[c], plot.left - 10, 13.5), "", Anchor::end);
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const Bars& bars = chart.series[s];
      const double value = bars.values[c], error = error_at(bars.errors, c);
      const double top = y + kBar * static_cast<double>(s);
      if (!std::isfinite(value)) {
        drawing.text(zero + 5, top + kBar / 2 + 4, "–", "sm mu");
        continue;
      }
      const double end = x(std::clamp(value, x.low(), x.high()));
      drawing.rect(std::min(zero, end), top + 1, std::abs(end - zero), kBar - 2,
                   fill_of(colour_at(bars.colour, s)));
      draw_error(drawing, x, value, error, top + kBar / 2, true, "er s7");
      if (chart.decimals >= 0)
        drawing.text(std::max({zero, end, x(value + error)}) + 7, top + kBar / 2 + 4,
                     text_of(value, error, chart.decimals), "sm halo");
    }
  }
  drawing.line(zero, plot.top, zero, plot.bottom, "ax");
  return drawing.finish();
}

Svg draw_vertical(const BarChart& chart, const Axis& axis, const Extent& extent) {
  Drawing drawing(chart.width, chart.height, chart.title, chart.description);
  Plot plot;
  plot.top = draw_title(drawing, chart.title) + 2;
  const std::vector<LegendEntry> legend = legend_of(chart.series);
  if (!legend.empty()) plot.top = draw_legend(drawing, legend, 0, plot.top, chart.width) + 4;
  plot.right = chart.width - 10;
  const double widest = name_width(chart.categories, 120);
  Scale y(axis, extent.low, extent.high,
          std::max(2, static_cast<int>((chart.height - plot.top) / 50)));
  plot.left = y_axis_width(y, axis);
  const double group = plot.width() / static_cast<double>(chart.categories.size());
  const bool turned = widest > group - 6;
  plot.bottom = std::max(chart.height - (turned ? widest + 14 : 26), plot.top + 60);
  y.place(plot.bottom, plot.top);
  draw_y_axis(drawing, plot, y, axis);
  const double zero = y(std::clamp(0.0, y.low(), y.high()));
  const double bar = group * 0.76 / static_cast<double>(chart.series.size());
  const auto every = std::max<size_t>(static_cast<size_t>(std::ceil(turned ? 13 / group : 1)), 1);
  for (size_t c = 0; c < chart.categories.size(); ++c) {
    const double x = plot.left + group * (static_cast<double>(c) + 0.12);
    const double middle = plot.left + group * (static_cast<double>(c) + 0.5);
    if (c % every == 0) {
      const std::string name = fitted(chart.categories[c], turned ? 120 : group, 13);
      if (turned)
        drawing.text(middle + 4, plot.bottom + 8, name, "sm mu", Anchor::end, -90);
      else
        drawing.text(middle, plot.bottom + 17, name, "sm mu", Anchor::middle);
    }
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const Bars& bars = chart.series[s];
      if (!std::isfinite(bars.values[c])) continue;
      const double end = y(std::clamp(bars.values[c], y.low(), y.high()));
      const double left = x + bar * static_cast<double>(s);
      const std::string tip = fmt::format(
          "{}: {}", chart.categories[c],
          text_of(bars.values[c], error_at(bars.errors, c), std::max(chart.decimals, 0)));
      drawing.rect(left, std::min(zero, end), bar * 0.94, std::abs(end - zero),
                   fill_of(colour_at(bars.colour, s)), tip);
      draw_error(drawing, y, bars.values[c], error_at(bars.errors, c), left + bar * 0.47, false,
                 "er s7");
    }
  }
  for (const Mark& mark : chart.marks) {
    if (!y.shows(mark.value)) continue;
    drawing.line(plot.left, y(mark.value), plot.right, y(mark.value), "mk");
    drawing.text(plot.right - 4, y(mark.value) - 5, mark.label, "sm mu halo", Anchor::end);
  }
  drawing.line(plot.left, zero, plot.right, zero, "ax");
  return drawing.finish();
}

}  // namespace

Svg draw(const BarChart& chart) {
  Extent extent = extent_of(chart.marks);
  bool any = false;
  for (const Bars& bars : chart.series) {
    check(bars, chart.categories.size());
    for (size_t i = 0; i < bars.values.size(); ++i) {
      if (!std::isfinite(bars.values[i])) continue;
      any = true;
      extent.add(bars.values[i] - error_at(bars.errors, i));
      extent.add(bars.values[i] + error_at(bars.errors, i));
    }
  }
  if (!any) return no_data(chart.width, chart.height, chart.title, chart.description);
  Axis axis = chart.value;
  axis.log = false;  // bars begin at zero
  extent.add(0);
  if (extent.low >= 0 && !axis.low) axis.low = 0;
  return chart.horizontal ? draw_horizontal(chart, axis, extent)
                          : draw_vertical(chart, axis, extent);
}

Svg draw(const DotPlot& chart) {
  constexpr double kRow = 17, kGap = 14;
  Extent extent = extent_of(chart.marks);
  bool any = false;
  for (const Dots& dots : chart.series) {
    check(dots, chart.rows.size());
    MONO_CHECK(dots.singles.empty() || dots.singles.size() == chart.rows.size(),
               "dots '{}': singles of {} rows, {} rows", dots.name, dots.singles.size(),
               chart.rows.size());
    for (size_t i = 0; i < dots.values.size(); ++i) {
      any = any || std::isfinite(dots.values[i]);
      extent.add(dots.values[i] - error_at(dots.errors, i));
      extent.add(dots.values[i] + error_at(dots.errors, i));
      if (!dots.singles.empty()) extent.add_all(dots.singles[i]);
    }
  }
  if (!any) return no_data(chart.width, 120, chart.title, chart.description);
  const std::vector<LegendEntry> legend = legend_of(chart.series);
  const double group = kRow * static_cast<double>(chart.series.size()) + kGap;
  const double head =
      (chart.title.empty() ? 6 : 28) + (legend.empty() ? 0 : 26) + (chart.marks.empty() ? 0 : 18);
  const double height = head + group * static_cast<double>(chart.rows.size()) + 44;
  Drawing drawing(chart.width, height, chart.title, chart.description);
  Plot plot;
  plot.top = draw_title(drawing, chart.title);
  if (!legend.empty()) plot.top = draw_legend(drawing, legend, 0, plot.top, chart.width) + 2;
  plot.top = std::max(plot.top, head);
  plot.bottom = height - 44;
  plot.left = name_width(chart.rows, chart.width * 0.4) + 14;
  plot.right = chart.width - 16;
  Scale x(chart.value, extent.low, extent.high, std::max(2, static_cast<int>(plot.width() / 80)));
  x.place(plot.left, plot.right);
  draw_x_axis(drawing, plot, x, chart.value);
  draw_marks(drawing, chart.marks, x, plot);
  for (size_t r = 0; r < chart.rows.size(); ++r) {
    const double y = plot.top + group * static_cast<double>(r);
    if (r > 0) drawing.line(0, y, plot.right, y, "gr");
    drawing.text(plot.left - 10, y + group / 2 + 4, fitted(chart.rows[r], plot.left - 12, 13.5), "",
                 Anchor::end);
    for (size_t s = 0; s < chart.series.size(); ++s) {
      const Dots& dots = chart.series[s];
      const int colour = colour_at(dots.colour, s);
      const double at = y + kGap / 2 + kRow * (static_cast<double>(s) + 0.5);
      std::string singles;
      for (const double value : dots.singles.empty() ? std::vector<double>{} : dots.singles[r])
        if (x.shows(value))
          singles += fmt::format("M{} {}v6", coordinate(x(value)), coordinate(at - 3));
      drawing.path(singles, "th op " + stroke_of(colour));
      if (!x.shows(dots.values[r])) continue;
      draw_error(drawing, x, dots.values[r], error_at(dots.errors, r), at, true,
                 "er " + stroke_of(colour));
      drawing.circle(x(dots.values[r]), at, 5, "sw " + fill_of(colour),
                     fmt::format("{}, {}: {}", chart.rows[r], dots.name,
                                 text_of(dots.values[r], error_at(dots.errors, r), 2)));
    }
  }
  return drawing.finish();
}

namespace {

// Linear between the values around place p * (n - 1), as numpy's default.
double quantile(const std::vector<double>& sorted, double p) {
  const double place = p * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

}  // namespace

Svg draw(const BoxPlot& chart) {
  constexpr double kRow = 34;
  constexpr size_t kMostDots = 400;
  Extent extent = extent_of(chart.marks);
  bool any = false;
  std::vector<std::string> names;
  for (const Sample& row : chart.rows) {
    names.push_back(row.name);
    extent.add_all(row.values);
    any = any || std::ranges::any_of(row.values, [](double v) { return std::isfinite(v); });
  }
  if (!any) return no_data(chart.width, 120, chart.title, chart.description);
  const double head = (chart.title.empty() ? 6 : 28) + (chart.marks.empty() ? 0 : 18);
  const double height = head + kRow * static_cast<double>(names.size()) + 44;
  Drawing drawing(chart.width, height, chart.title, chart.description);
  draw_title(drawing, chart.title);
  const Plot plot{name_width(names, chart.width * 0.4) + 14, head, chart.width - 16, height - 44};
  Scale x(chart.value, extent.low, extent.high, std::max(2, static_cast<int>(plot.width() / 80)));
  x.place(plot.left, plot.right);
  draw_x_axis(drawing, plot, x, chart.value);
  draw_marks(drawing, chart.marks, x, plot);
  for (size_t r = 0; r < chart.rows.size(); ++r) {
    const double y = plot.top + kRow * (static_cast<double>(r) + 0.5);
    const int colour = chart.rows[r].colour >= 0 ? chart.rows[r].colour : 0;
    drawing.text(plot.left - 10, y + 4, fitted(names[r], plot.left - 12, 13.5), "", Anchor::end);
    std::vector<double> sorted;
    for (const double value : chart.rows[r].values)
      if (x.shows(value)) sorted.push_back(value);
    if (sorted.empty()) {
      drawing.text(plot.left + 6, y + 4, "–", "sm mu");
      continue;
    }
    std::ranges::sort(sorted);
    const double q1 = quantile(sorted, 0.25), q3 = quantile(sorted, 0.75);
    const double reach = 1.5 * (q3 - q1);
    // Of few values a quartile may lie beyond the last one within reach: no whisker then.
    const double low = std::min(*std::ranges::lower_bound(sorted, q1 - reach), q1);
    const double high = std::max(*(std::ranges::upper_bound(sorted, q3 + reach) - 1), q3);
    // Spread over the row by their order, which is the same every time.
    std::string dots;
    const size_t every = (sorted.size() + kMostDots - 1) / kMostDots;
    for (size_t i = 0; i < sorted.size(); i += every)
      dots += fmt::format(
          "M{},{}h0", coordinate(x(sorted[i])),
          coordinate(y - 8 + 16 * std::fmod(static_cast<double>(i / every) * 0.618034, 1.0)));
    drawing.dots(dots, 3, "op " + stroke_of(colour));
    drawing.line(x(low), y, x(q1), y, "er s7");
    drawing.line(x(q3), y, x(high), y, "er s7");
    drawing.rect(x(q1), y - 9, x(q3) - x(q1), 18, "bd " + fill_of(colour));
    drawing.rect(x(q1), y - 9, x(q3) - x(q1), 18, "no th s7");
    const double median = x(quantile(sorted, 0.5));
    drawing.line(median, y - 9, median, y + 9, "ln s7");
  }
  return drawing.finish();
}

}  // namespace mono::report
