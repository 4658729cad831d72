#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "train/report/plot.h"

namespace mono::report {
namespace {

struct Range {
  Extent x, y;
};
Range range_of(const std::vector<Points>& groups) {
  Range range;
  for (const Points& group : groups) {
    MONO_CHECK(group.x.size() == group.y.size(), "points '{}': {} x, {} y", group.name,
               group.x.size(), group.y.size());
    for (size_t i = 0; i < group.x.size(); ++i) {
      if (!std::isfinite(group.x[i]) || !std::isfinite(group.y[i])) continue;
      range.x.add(static_cast<double>(group.x[i]));
      range.y.add(static_cast<double>(group.y[i]));
    }
  }
  return range;
}

// In tenths of a pixel, which is as exact as dots can be seen.
std::string place(double value) {
  return coordinate(std::round(value * 10) / 10);
}

// Groups of the same colour share a path; within the window only.
void draw_groups(Drawing& drawing, const std::vector<Points>& groups, const Scale& x,
                 const Scale& y, const Plot& plot, double diameter) {
  std::vector<std::string> data(kColours);
  for (size_t g = 0; g < groups.size(); ++g) {
    std::string& path = data[static_cast<size_t>(colour_at(groups[g].colour, g) % kColours)];
    for (size_t i = 0; i < groups[g].x.size(); ++i) {
      const double px = x(static_cast<double>(groups[g].x[i]));
      const double py = y(static_cast<double>(groups[g].y[i]));
      if (!(px >= plot.left - diameter && px <= plot.right + diameter &&
            py >= plot.top - diameter && py <= plot.bottom + diameter))
        continue;
      path += 'M';
      path += place(px);
      path += ',';
      path += place(py);
      path += "h0";
    }
  }
  for (int colour = 0; colour < kColours; ++colour)
    drawing.dots(data[static_cast<size_t>(colour)], diameter, "op " + stroke_of(colour));
}

// A margin of 3 % around what is seen, and equal units by widening the narrower axis.
void widen(double& low, double& high, double factor) {
  const double middle = (low + high) / 2, half = (high - low) / 2 * factor;
  low = middle - half;
  high = middle + half;
}

void draw_inset(Drawing& drawing, const Scatter& chart, const Plot& plot, const Scale& x,
                const Scale& y) {
  const Inset& inset = *chart.inset;
  const std::vector<Points>& groups = inset.groups.empty() ? chart.groups : inset.groups;
  drawing.rect(x(inset.x_low), y(inset.y_high), x(inset.x_high) - x(inset.x_low),
               y(inset.y_low) - y(inset.y_high), "no s7 th");
  if (!inset.title.empty())
    drawing.text(plot.left, plot.top - 8, fitted(inset.title, plot.width(), 13), "sm bo");
  Scale zoom_x(Axis{.low = inset.x_low, .high = inset.x_high}, 0, 1, 2);
  Scale zoom_y(Axis{.low = inset.y_low, .high = inset.y_high}, 0, 1, 2);
  zoom_x.place(plot.left, plot.right);
  zoom_y.place(plot.bottom, plot.top);
  drawing.open_window(plot.left, plot.top, plot.width(), plot.height());
  draw_groups(drawing, groups, zoom_x, zoom_y, plot, std::min(2.4 * chart.point, 7.0));
  drawing.close_window();
  drawing.rect(plot.left, plot.top, plot.width(), plot.height(), "no s7 th");
  if (inset.groups.empty()) return;
  std::vector<LegendEntry> entries;
  for (size_t g = 0; g < groups.size(); ++g)
    entries.push_back({groups[g].name, colour_at(groups[g].colour, g), false, true});
  draw_legend(drawing, entries, plot.left, plot.bottom + 8, plot.right);
}

}  // namespace

Svg draw(const Scatter& chart) {
  const Range range = range_of(chart.groups);
  if (!range.x.any) return no_data(chart.width, chart.height, chart.title, chart.description);
  Drawing drawing(chart.width, chart.height, chart.title, chart.description);
  Plot plot;
  plot.top = draw_title(drawing, chart.title);
  if (chart.groups.size() > 1) {
    std::vector<LegendEntry> entries;
    for (size_t g = 0; g < chart.groups.size(); ++g)
      entries.push_back({chart.groups[g].name, colour_at(chart.groups[g].colour, g), false, true});
    plot.top = draw_legend(drawing, entries, 0, plot.top, chart.width) + 4;
  }
  plot.right = chart.inset ? chart.width * 0.6 : chart.width - 10;
  plot.bottom = std::max(chart.height - (chart.x.ticks ? 44 : 26), plot.top + 60);

  Axis x_axis = chart.x, y_axis = chart.y;
  x_axis.log = y_axis.log = false;
  double x_low = x_axis.low.value_or(range.x.low), x_high = x_axis.high.value_or(range.x.high);
  double y_low = y_axis.low.value_or(range.y.low), y_high = y_axis.high.value_or(range.y.high);
  if (x_high <= x_low) x_high = x_low + 1;
  if (y_high <= y_low) y_high = y_low + 1;
  widen(x_low, x_high, chart.x.low || chart.x.high ? 1 : 1.06);
  widen(y_low, y_high, chart.y.low || chart.y.high ? 1 : 1.06);
  const int rows = std::max(2, static_cast<int>(plot.height() / 60));
  y_axis.low = y_low, y_axis.high = y_high;
  plot.left = y_axis_width(Scale(y_axis, 0, 1, rows), y_axis);
  if (chart.equal_units) {
    const double x_unit = (x_high - x_low) / plot.width(),
                 y_unit = (y_high - y_low) / plot.height();
    if (x_unit > y_unit)
      widen(y_low, y_high, x_unit / y_unit);
    else
      widen(x_low, x_high, y_unit / x_unit);
  }
  x_axis.low = x_low, x_axis.high = x_high;
  y_axis.low = y_low, y_axis.high = y_high;
  Scale x(x_axis, 0, 1, std::max(2, static_cast<int>(plot.width() / 90))), y(y_axis, 0, 1, rows);
  x.place(plot.left, plot.right);
  y.place(plot.bottom, plot.top);
  draw_y_axis(drawing, plot, y, y_axis);
  draw_x_axis(drawing, plot, x, x_axis);
  drawing.open_window(plot.left, plot.top, plot.width(), plot.height());
  draw_groups(drawing, chart.groups, x, y, plot, chart.point);
  drawing.close_window();
  if (chart.inset) {
    Plot zoom{plot.right + 24, plot.top + 18, chart.width - 2, 0};
    zoom.bottom = std::min(zoom.top + zoom.width(), plot.bottom);
    draw_inset(drawing, chart, zoom, x, y);
  }
  return drawing.finish();
}

}  // namespace mono::report
