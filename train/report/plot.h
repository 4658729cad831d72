// What charts have in common: scales, ticks, frames, legends.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "train/report/chart.h"

namespace mono::report {

struct Tick {
  double value = 0;
  std::string label;
};

// From values to places along one axis. Without a finite value the domain is 0..1.
class Scale {
 public:
  // Takes the ends that `axis` fixes, otherwise those of the values seen, rounded outwards to the
  // steps of some `ticks` ticks (multiples of 1, 2 or 5 times a power of ten).
  Scale(const Axis& axis, double low, double high, int ticks);
  void place(double from, double to) { from_ = from, to_ = to; }

  double operator()(double value) const;  // a place; NaN where the scale has none
  bool shows(double value) const;         // finite, and positive if it is logarithmic
  const std::vector<Tick>& ticks() const { return ticks_; }
  double low() const { return low_; }
  double high() const { return high_; }

 private:
  double low_, high_, from_ = 0, to_ = 1;
  bool log_;
  std::vector<Tick> ticks_;
};

// Least and greatest of the finite values seen.
struct Extent {
  double low = 0, high = 0;
  bool any = false;
  void add(double value);
  template <class Values>
  void add_all(const Values& values) {
    for (const auto value : values) add(static_cast<double>(value));
  }
};

// The rectangle between the axes.
struct Plot {
  double left = 0, top = 0, right = 0, bottom = 0;
  double width() const { return right - left; }
  double height() const { return bottom - top; }
};

// Title; returns the y below it (0 without one).
double draw_title(Drawing& drawing, const std::string& title);

// Swatches and names, in as many rows as they need, from (left, top); returns the y below. At most
// 24 names, then "and 27 more".
struct LegendEntry {
  std::string name;
  int colour = 0;
  bool dashed = false;
  bool dot = false;
};
double draw_legend(Drawing& drawing, const std::vector<LegendEntry>& entries, double left,
                   double top, double right);

// Ticks, grid lines and labels.
void draw_x_axis(Drawing& drawing, const Plot& plot, const Scale& x, const Axis& axis);
void draw_y_axis(Drawing& drawing, const Plot& plot, const Scale& y, const Axis& axis);
// The room that the y axis' labels take.
double y_axis_width(const Scale& y, const Axis& axis);

// A chart without values: its title and "no data".
Svg no_data(double width, double height, const std::string& title, const std::string& description);

// A name behind each number: "s3".
std::string stroke_of(int colour);
std::string fill_of(int colour);
int colour_at(int chosen, size_t position);

}  // namespace mono::report
