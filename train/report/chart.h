// Charts: each a plain struct that says what to show, and draw(), which makes an SVG of it.
//
//   LineChart chart{.title = "Loss", .x = {"step"}, .y = {"loss"}};
//   chart.series.push_back({.name = "AdaBN", .x = steps, .y = losses});
//   page.figure(chart, "Training loss.");     // or: draw(chart).file() for a file of its own
//
// A value that is not finite is left out (a line breaks there). A chart without any value says "no
// data". Vectors that belong together have equal lengths, or ErrorKind::internal is thrown.
// Numbers are shown in the unit they are given in: percentages as 0..100.
// data_table() gives what a chart shows as numbers, for those who cannot see it.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "train/report/svg.h"
#include "train/report/table.h"

namespace mono::report {

struct Axis {
  std::string label = {};
  std::optional<double> low = {}, high = {};  // fixed ends; otherwise the data's, rounded outwards
  bool log = false;   // powers of ten; values that are not positive drop out
  bool ticks = true;  // false: units mean nothing (UMAP)
};

// A labelled line across the plot at a value: chance, the paper's figure.
struct Mark {
  double value = 0;
  std::string label = {};
};

struct Series {
  std::string name = {};
  std::vector<double> x = {}, y = {};
  std::vector<double> low = {}, high = {};  // a band around y; empty: none
  int colour = -1;                          // -1: by position
  bool dashed = false;
};

// The mean of curves and a band of one standard deviation (n - 1), at every x that occurs; a mean
// over the curves which have that x, without a band (NaN) where that is one. Each x occurs once a
// curve, in rising order.
Series mean_and_band(std::string name, const std::vector<Series>& curves);

struct LineChart {
  std::string title = {}, description = {};
  Axis x = {}, y = {};
  std::vector<Series> series = {};
  std::vector<Mark> marks = {};  // horizontal
  bool points = false;           // also a dot at every value
  bool legend = false;           // names above rather than at the ends: for narrow charts
  double width = 880, height = 360;
};

// Grouped bars: value (and error, one standard deviation) of each category in each series.
struct Bars {
  std::string name = {};
  std::vector<double> values = {};
  std::vector<double> errors = {};  // empty, or NaN where there is none
  int colour = -1;
};
struct BarChart {
  std::string title = {}, description = {};
  Axis value = {};  // starts at 0 if `low` is not given
  std::vector<std::string> categories = {};
  std::vector<Bars> series = {};
  std::vector<Mark> marks = {};
  bool horizontal = true;  // for long names; its height then follows from the number of bars
  int decimals = 1;        // of the figure beside a bar (horizontal); negative: none
  double width = 880, height = 360;
};

// One path a colour, so that 60,000 points stay light: 14 bytes each.
struct Points {
  std::string name = {};
  std::vector<float> x = {}, y = {};
  int colour = -1;
};
// A part of the plot, enlarged beside it, perhaps in other colours (CDCL, Figure 2).
struct Inset {
  std::string title = {};
  double x_low = 0, x_high = 0, y_low = 0, y_high = 0;
  std::vector<Points> groups = {};  // empty: those of the plot
};
struct Scatter {
  std::string title = {}, description = {};
  Axis x = {}, y = {};
  std::vector<Points> groups = {};
  std::optional<Inset> inset = {};
  double point = 2.4;        // diameter
  bool equal_units = false;  // one unit is as long in x as in y
  double width = 880, height = 520;
};

// Densities of series of values over the same bins, overlaid.
struct Sample {
  std::string name = {};
  std::vector<double> values = {};
  int colour = -1;
};
struct Histogram {
  std::string title = {}, description = {};
  Axis x = {};
  std::vector<Sample> samples = {};
  int bins = 60;
  double width = 880, height = 320;
};

// A plate of 16 x 24 wells, a confusion matrix. Dark is low in the sequential scale (viridis); the
// diverging one (blue, white, red) is symmetric about 0.
struct HeatMap {
  std::string title = {}, description = {};
  std::vector<std::string> rows = {}, columns = {};
  std::vector<double> values = {};  // rows x columns; NaN: nothing there
  std::string row_title = {}, column_title = {};
  std::string unit = {};                      // beside the scale: "accuracy (%)"
  std::optional<double> low = {}, high = {};  // ends of the scale, to compare maps
  bool diverging = false;
  bool print_values = false;  // in the cells
  int decimals = 0;
  bool plain = false;  // cells and title alone: small multiples, a tenth of the size
  double width = 720;  // the height follows
};

// Figures with error bars, rows against one another: methods, the paper's beside ours.
struct Dots {
  std::string name = {};
  std::vector<double> values = {};                // one a row; NaN: absent
  std::vector<double> errors = {};                // empty, or NaN where there is none
  std::vector<std::vector<double>> singles = {};  // of each row, perhaps: the seeds behind a mean
  int colour = -1;
};
struct DotPlot {
  std::string title = {}, description = {};
  Axis value = {};
  std::vector<std::string> rows = {};
  std::vector<Dots> series = {};
  std::vector<Mark> marks = {};
  double width = 880;  // the height follows
};

// Quartiles, whiskers to the farthest value within 1.5 quartile distances, and up to 400 values
// themselves, of each row.
struct BoxPlot {
  std::string title = {}, description = {};
  Axis value = {};
  std::vector<Sample> rows = {};
  std::vector<Mark> marks = {};
  double width = 880;  // the height follows
};

Svg draw(const LineChart& chart);
Svg draw(const BarChart& chart);
Svg draw(const Scatter& chart);
Svg draw(const Histogram& chart);
Svg draw(const HeatMap& chart);
Svg draw(const DotPlot& chart);
Svg draw(const BoxPlot& chart);

// At most some 200 rows: of long curves every n-th value, of a scatter its groups.
Table data_table(const LineChart& chart);
Table data_table(const BarChart& chart);
Table data_table(const Scatter& chart);
Table data_table(const Histogram& chart);
Table data_table(const HeatMap& chart);
Table data_table(const DotPlot& chart);
Table data_table(const BoxPlot& chart);

}  // namespace mono::report
