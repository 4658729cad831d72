// GCC 12 takes the strings of braced temporaries for uninitialised once inlined (bug 105562).
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"

#include "train/report/chart.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "kernels/base/error.h"
#include "tests/train/report/markup.h"
#include "train/report/plot.h"

namespace mono::report {
namespace {

using test::Element;
using test::parse_markup;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
constexpr const char* kHostile = "<script>alert(1)</script> & \"'";

// Of every kind one, with this text wherever text goes.
std::vector<Svg> every_chart(const std::string& text) {
  const Axis axis{.label = text};
  const Table none;
  std::vector<Svg> charts;
  charts.push_back(draw(LineChart{
      .title = text,
      .description = text,
      .x = axis,
      .y = axis,
      .series =
          {{.name = text, .x = {1, 2, 3}, .y = {1, 4, 2}, .low = {0, 3, 1}, .high = {2, 5, 3}},
           {.name = text, .x = {1, 2}, .y = {3, 3}}},
      .marks = {{2, text}}}));
  for (const bool horizontal : {true, false})
    charts.push_back(draw(BarChart{.title = text,
                                   .value = axis,
                                   .categories = {text, "b"},
                                   .series = {{text, {1, -2}, {0.5, kNone}}, {text, {kNone, 3}}},
                                   .marks = {{1, text}},
                                   .horizontal = horizontal}));
  charts.push_back(draw(Scatter{.title = text,
                                .x = axis,
                                .y = axis,
                                .groups = {{text, {1, 2}, {3, 4}}, {text, {1}, {1}}},
                                .inset = Inset{text, 1, 2, 3, 4, {{text, {1}, {3}}}}}));
  charts.push_back(
      draw(Histogram{.title = text, .x = axis, .samples = {{text, {1, 2, 2, 3}}, {text, {5}}}}));
  charts.push_back(draw(HeatMap{.title = text,
                                .rows = {text, "b"},
                                .columns = {text, "c"},
                                .values = {1, 2, kNone, 4},
                                .row_title = text,
                                .column_title = text,
                                .unit = text,
                                .print_values = true}));
  charts.push_back(
      draw(HeatMap{.title = text, .rows = {"a"}, .columns = {"c"}, .values = {1}, .plain = true}));
  charts.push_back(draw(DotPlot{.title = text,
                                .value = axis,
                                .rows = {text, "b"},
                                .series = {{text, {1, kNone}, {0.5, kNone}, {{1, 2}, {}}}},
                                .marks = {{1, text}}}));
  charts.push_back(draw(BoxPlot{
      .title = text, .value = axis, .rows = {{text, {1, 2, 3, 50}}}, .marks = {{1, text}}}));
  return charts;
}

TEST(Charts, AreWellFormedAndNamed) {
  for (const Svg& svg : every_chart("accuracy")) {
    const Element root = parse_markup(svg.text());
    EXPECT_EQ(root.name, "svg");
    EXPECT_EQ(root.attribute("role"), "img");
    ASSERT_GE(root.children.size(), 3u);
    EXPECT_EQ(root.children[0].name, "title");
    EXPECT_EQ(root.children[1].name, "desc");
    EXPECT_FALSE(root.children[1].text.empty());
    EXPECT_THAT(svg.text(), Not(HasSubstr("nan")));
    EXPECT_THAT(svg.text(), Not(HasSubstr("inf")));
    // As a file it brings its style along, and loads nothing.
    const Element file = parse_markup(svg.file());
    EXPECT_EQ(file.all("style").size(), 1u);
    EXPECT_EQ(file.attribute("xmlns"), "http://www.w3.org/2000/svg");
  }
}

TEST(Charts, TextStaysText) {
  for (const Svg& svg : every_chart(kHostile)) {
    const Element root = parse_markup(svg.text());
    EXPECT_TRUE(root.all("script").empty());
    EXPECT_EQ(root.children[0].text, kHostile);
    root.each([](const Element& element) {
      for (const auto& [key, value] : element.attributes)
        EXPECT_FALSE(key.starts_with("on") || key == "href" || key == "style") << key;
    });
  }
}

TEST(Charts, WithoutValuesTheySayNoData) {
  const std::vector<Svg> charts = {
      draw(LineChart{.title = "a"}),
      draw(LineChart{
          .series = {{.x = {1, 2}, .y = {kNone, std::numeric_limits<double>::infinity()}}}}),
      draw(LineChart{.y = {.log = true}, .series = {{.x = {1}, .y = {-1}}}}),
      draw(BarChart{}),
      draw(BarChart{.categories = {"a"}, .series = {{"", {kNone}}}}),
      draw(Scatter{}),
      draw(Scatter{.groups = {{"", {std::numeric_limits<float>::quiet_NaN()}, {1}}}}),
      draw(Histogram{.samples = {{"", {kNone}}}}),
      draw(HeatMap{}),
      draw(HeatMap{.rows = {"a"}, .columns = {"b"}, .values = {kNone}, .plain = true}),
      draw(DotPlot{.rows = {"a"}, .series = {{"", {kNone}}}}),
      draw(BoxPlot{.rows = {{"a", {}}}})};
  for (const Svg& svg : charts)
    EXPECT_THAT(parse_markup(svg.text()).all_text(), HasSubstr("no data"));
}

TEST(Charts, LengthsThatDifferAreAFault) {
  EXPECT_THROW(draw(LineChart{.series = {{.x = {1}, .y = {}}}}), Error);
  EXPECT_THROW(draw(LineChart{.series = {{.x = {1}, .y = {1}, .low = {1}, .high = {}}}}), Error);
  EXPECT_THROW(draw(BarChart{.categories = {"a"}, .series = {{"", {}}}}), Error);
  EXPECT_THROW(draw(Scatter{.groups = {{"", {1}, {}}}}), Error);
  EXPECT_THROW(draw(HeatMap{.rows = {"a"}, .columns = {"b"}, .values = {}}), Error);
  EXPECT_THROW(draw(DotPlot{.rows = {"a"}, .series = {{"", {1}, {1, 2}}}}), Error);
}

// The paths of a class, by how their data begin.
std::vector<std::string> paths_of(const Svg& svg, const std::string& style) {
  std::vector<std::string> data;
  const Element root = parse_markup(svg.text());
  for (const Element* path : root.all("path"))
    if ((" " + path->attribute("class") + " ").find(" " + style + " ") != std::string::npos)
      data.push_back(path->attribute("d"));
  return data;
}

TEST(LineCharts, BreakWhereAValueIsMissing) {
  const LineChart chart{.series = {{.x = {0, 1, 2, 3, 4}, .y = {1, 2, kNone, 2, 1}}}};
  const std::vector<std::string> lines = paths_of(draw(chart), "ln");
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_EQ(std::ranges::count(lines[0], 'M'), 2);
  EXPECT_EQ(std::ranges::count(lines[0], 'L'), 2);
}

TEST(LineCharts, ALonelyValueIsADot) {
  const LineChart chart{.series = {{.x = {0, 1, 2}, .y = {kNone, 2, kNone}}}};
  EXPECT_EQ(paths_of(draw(chart), "dt").size(), 1u);
}

TEST(LineCharts, LongCurvesAreThinnedAndKeepTheirSpikes) {
  Series series;
  for (int i = 0; i < 100'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i == 51'234 ? 100 : 0);
  }
  const LineChart chart{.y = {.low = 0, .high = 100}, .series = {series}};
  const Svg svg = draw(chart);
  EXPECT_LT(svg.text().size(), 60'000u);
  // The spike reaches the top of the plot, where the highest grid line is.
  const std::string line = paths_of(svg, "ln").at(0);
  double top = 1e9;
  for (size_t at = line.find_first_of("ML"); at != line.npos;
       at = line.find_first_of("ML", at + 1)) {
    const size_t space = line.find(' ', at);
    top = std::min(top, std::stod(line.substr(space + 1)));
  }
  EXPECT_LT(top, 40);
}

TEST(LineCharts, MeanAndBandOverCurves) {
  const Series band =
      mean_and_band("m", {{.x = {1, 2, 3}, .y = {1, 2, 7}}, {.x = {1, 2}, .y = {3, kNone}}});
  EXPECT_THAT(band.x, ElementsAre(1, 2, 3));
  EXPECT_THAT(band.y, ElementsAre(2, 2, 7));
  EXPECT_NEAR(band.high[0] - band.y[0], std::sqrt(2.0), 1e-12);  // of 1 and 3, n - 1
  EXPECT_TRUE(std::isnan(band.low[2])) << "one curve has no spread";
  const Table table = data_table(LineChart{.series = {band}});
  EXPECT_EQ(table.rows[0][2].text, "0.58579 to 3.4142");
  EXPECT_EQ(table.rows[2][1].text, "7");
  EXPECT_EQ(table.rows[2][2].text, "–");
}

// The x of the ends of a line that lies: "M1 2L3 2".
std::pair<double, double> ends_of(const std::string& path) {
  return {std::stod(path.substr(1)), std::stod(path.substr(path.find('L') + 1))};
}

TEST(BoxPlots, WhiskersStayOutsideOfTheBox) {
  const Svg svg = draw(BoxPlot{.rows = {{"a", {0, 10, 10, 10}}, {"b", {1, 2, 3, 4}}}});
  std::vector<std::pair<double, double>> boxes;
  const Element root = parse_markup(svg.text());
  for (const Element* rect : root.all("rect"))
    if (rect->attribute("class").find("no th") != std::string::npos)
      boxes.emplace_back(std::stod(rect->attribute("x")),
                         std::stod(rect->attribute("x")) + std::stod(rect->attribute("width")));
  const std::vector<std::string> whiskers = paths_of(svg, "er");
  ASSERT_EQ(boxes.size(), 2u);
  ASSERT_EQ(whiskers.size(), 4u);
  for (size_t row = 0; row < 2; ++row) {
    const auto low = ends_of(whiskers[2 * row]), high = ends_of(whiskers[2 * row + 1]);
    EXPECT_LE(low.first, low.second);
    EXPECT_NEAR(low.second, boxes[row].first, 0.02);
    EXPECT_NEAR(high.first, boxes[row].second, 0.02);
    EXPECT_LE(high.first, high.second);
  }
}

TEST(BarCharts, TheFigureOfANegativeBarIsBesideIt) {
  const Svg svg =
      draw(BarChart{.categories = {"a long name of a category"}, .series = {{"", {-20}, {1}}}});
  const Element root = parse_markup(svg.text());
  double name_end = 0, bar_end = 0, figure = 0;
  for (const Element* text : root.all("text")) {
    if (text->text == "a long name of a category") name_end = std::stod(text->attribute("x"));
    if (text->text == "−20.0 ± 1.0") figure = std::stod(text->attribute("x"));
  }
  for (const Element* rect : root.all("rect"))
    bar_end = std::stod(rect->attribute("x")) + std::stod(rect->attribute("width"));
  EXPECT_GT(bar_end, name_end);
  EXPECT_GT(figure, bar_end);
}

TEST(Scatters, OnePathAColourHoweverManyPoints) {
  Scatter chart{.title = "UMAP"};
  for (int g = 0; g < 12; ++g) {
    Points points{.name = std::to_string(g)};
    for (int i = 0; i < 5000; ++i) {
      points.x.push_back(std::sin(static_cast<float>(i * (g + 1))));
      points.y.push_back(std::cos(static_cast<float>(i * (g + 2))));
    }
    chart.groups.push_back(std::move(points));
  }
  const Svg svg = draw(chart);
  const std::vector<std::string> dots = paths_of(svg, "dt");
  EXPECT_EQ(dots.size(), static_cast<size_t>(kColours));
  size_t points = 0;
  for (const std::string& data : dots)
    for (size_t at = data.find("h0"); at != data.npos; at = data.find("h0", at + 1)) ++points;
  EXPECT_EQ(points, 60'000u);
  EXPECT_LT(svg.text().size(), 1'000'000u);
}

TEST(HeatMaps, HaveACellForEachValueThatIsThere) {
  const HeatMap map{.rows = {"A", "B"}, .columns = {"1", "2"}, .values = {1, kNone, 3, 4}};
  const Element root = parse_markup(draw(map).text());
  std::vector<std::string> tips;
  for (const Element* rect : root.all("rect"))
    for (const Element& child : rect->children) tips.push_back(child.text);
  EXPECT_THAT(tips, ElementsAre("A 1: 1", "B 1: 3", "B 2: 4"));
}

TEST(Scales, TicksAreRoundNumbersInsideTheDomain) {
  const auto labels = [](const Axis& axis, double low, double high) {
    std::vector<std::string> out;
    const Scale scale(axis, low, high, 5);
    for (const Tick& tick : scale.ticks()) out.push_back(tick.label);
    return out;
  };
  EXPECT_THAT(labels({}, 0, 97), ElementsAre("0", "20", "40", "60", "80", "100"));
  EXPECT_THAT(labels({}, -0.13, 0.31),
              ElementsAre("−0.2", "−0.1", "0", "0.1", "0.2", "0.3", "0.4"));
  EXPECT_THAT(labels({}, 0, 17'000), ElementsAre("0", "5,000", "10,000", "15,000", "20,000"));
  EXPECT_THAT(labels({.log = true}, 0.002, 3), ElementsAre("0.001", "0.01", "0.1", "1", "10"));
  // One value, none, and turned ends are no reason to fail.
  EXPECT_GE(labels({}, 5, 5).size(), 2u);
  EXPECT_GE(labels({}, 0, 0).size(), 2u);
  EXPECT_GE(labels({}, kNone, kNone).size(), 2u);
  EXPECT_GE(labels({.low = 3, .high = 1}, 0, 0).size(), 2u);
  Scale scale({.low = 10, .high = 20}, 0, 0, 5);
  scale.place(100, 200);
  EXPECT_EQ(scale(15), 150);
  EXPECT_TRUE(std::isnan(scale(kNone)));
}

TEST(ChartData, IsATableOfTheSameNumbers) {
  const Table lines = data_table(LineChart{
      .x = {"step"},
      .series = {{.name = "a", .x = {1, 2}, .y = {0.5, 0.25}}, {.name = "b", .x = {2}, .y = {3}}}});
  ASSERT_EQ(lines.rows.size(), 2u);
  EXPECT_EQ(lines.columns[0].title, "step");
  EXPECT_EQ(lines.rows[0][1].text, "0.5");
  EXPECT_EQ(lines.rows[0][2].text, "–");
  EXPECT_EQ(lines.rows[1][2].text, "3");

  Series series;
  for (int i = 0; i < 10'000; ++i) {
    series.x.push_back(i);
    series.y.push_back(i);
  }
  const Table thinned = data_table(LineChart{.series = {series}});
  EXPECT_LE(thinned.rows.size(), 202u);
  EXPECT_EQ(thinned.rows.back()[0].text, "9,999");
  EXPECT_EQ(thinned.caption, "One in 50 of 10000 values");

  const Table gap = data_table(LineChart{.series = {{.x = {1, kNone}, .y = {5, 6}}}});
  ASSERT_EQ(gap.rows.size(), 1u);
  EXPECT_EQ(gap.rows[0][1].text, "5");

  const Table bars = data_table(BarChart{.categories = {"x"}, .series = {{"s", {1.5}, {0.5}}}});
  EXPECT_EQ(bars.rows[0][1].text, "1.5");
  EXPECT_EQ(bars.rows[0][2].text, "0.5");
}

TEST(Numbers, AreShortAndTheSameEverywhere) {
  EXPECT_EQ(coordinate(1.0), "1");
  EXPECT_EQ(coordinate(-0.004), "0");
  EXPECT_EQ(coordinate(-12.345), "-12.35");
  EXPECT_EQ(coordinate(0.1), "0.1");
  EXPECT_EQ(coordinate(kNone), "0");
  EXPECT_EQ(figure_text(1234567.25, 1), "1,234,567.2");
  EXPECT_EQ(figure_text(-0.04, 1), "0.0");
  EXPECT_EQ(figure_text(-0.06, 1), "−0.1");
  EXPECT_EQ(figure_text(kNone, 1), "–");
  EXPECT_EQ(short_text(0.000123, 3), "0.000123");
  EXPECT_EQ(short_text(1.5e-7, 3), "1.50e-07");
  EXPECT_EQ(short_text(15'800), "15,800");
}

TEST(Text, IsEscapedAndMended) {
  EXPECT_EQ(escaped("<a href=\"x\">'&'"), "&lt;a href=&quot;x&quot;&gt;&#39;&amp;&#39;");
  EXPECT_EQ(escaped("Å ± µ"), "Å ± µ");
  EXPECT_EQ(escaped(std::string("a\0b\x1b", 4)),
            "a\xEF\xBF\xBD"
            "b\xEF\xBF\xBD");
  EXPECT_EQ(escaped("\xC3("), "\xEF\xBF\xBD(");                                // cut short
  EXPECT_EQ(escaped("\xC0\xAF"), "\xEF\xBF\xBD\xEF\xBF\xBD");                  // overlong '/'
  EXPECT_EQ(escaped("\xED\xA0\x80"), "\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD");  // a surrogate
  EXPECT_EQ(fitted("short", 100, 12), "short");
  const std::string cut = fitted("a very long name of a method", 60, 12);
  EXPECT_THAT(cut, ::testing::EndsWith("…"));
  EXPECT_LE(text_width(cut, 12), 66);
}

TEST(Differences, SayWhetherThePapersSpreadCoversThem) {
  EXPECT_EQ(difference_cell(87.2, 87.1, 0.2).text, "+0.1");
  EXPECT_EQ(difference_cell(87.2, 87.1, 0.2).tone, Tone::inside);
  EXPECT_EQ(difference_cell(80.0, 87.1, 0.2).tone, Tone::outside);
  EXPECT_EQ(difference_cell(80.0, 87.1, {}).tone, Tone::plain);
  EXPECT_EQ(difference_cell(80.0, 87.1, 0.2).text, "−7.1");
}

}  // namespace
}  // namespace mono::report
