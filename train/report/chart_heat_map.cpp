#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <map>

#include "kernels/base/error.h"
#include "train/report/plot.h"

namespace mono::report {
namespace {

struct Rgb {
  double r, g, b;
};

// Viridis (van der Walt and Smith 2015, CC0) at every eighth; colours between are interpolated.
constexpr std::array<Rgb, 9> kViridis = {{{68, 1, 84},
                                          {71, 44, 122},
                                          {59, 81, 139},
                                          {44, 113, 142},
                                          {33, 144, 141},
                                          {39, 173, 129},
                                          {92, 200, 99},
                                          {170, 220, 50},
                                          {253, 231, 37}}};
// From the blue of Okabe and Ito through near white to their vermilion.
constexpr std::array<Rgb, 5> kDiverging = {
    {{0, 84, 140}, {102, 170, 217}, {242, 242, 242}, {238, 150, 97}, {180, 70, 0}}};

template <size_t N>
Rgb colour_on(const std::array<Rgb, N>& scale, double part) {
  const double place = std::clamp(part, 0.0, 1.0) * static_cast<double>(N - 1);
  const auto below = std::min(static_cast<size_t>(place), N - 2);
  const double t = place - static_cast<double>(below);
  const auto mix = [&](double a, double b) { return a + t * (b - a); };
  const Rgb &a = scale[below], &b = scale[below + 1];
  return {mix(a.r, b.r), mix(a.g, b.g), mix(a.b, b.b)};
}

class ColourScale {
 public:
  explicit ColourScale(const HeatMap& map) : diverging_(map.diverging) {
    Extent extent;
    extent.add_all(map.values);
    low = map.low.value_or(extent.low);
    high = map.high.value_or(extent.high);
    if (diverging_) {
      const double most = std::max(std::abs(low), std::abs(high));
      low = -most;
      high = most;
    }
    if (!(high > low)) high = low + 1;
  }
  Rgb at(double value) const {
    const double part = (value - low) / (high - low);
    return diverging_ ? colour_on(kDiverging, part) : colour_on(kViridis, part);
  }
  double low, high;

 private:
  bool diverging_;
};

std::string hex(const Rgb& c) {
  const auto byte = [](double v) { return static_cast<int>(std::lround(v)); };
  return fmt::format("#{:02x}{:02x}{:02x}", byte(c.r), byte(c.g), byte(c.b));
}

// Black or white, whichever is better to read on it (relative luminance, WCAG 2.2).
const char* ink_on(const Rgb& c) {
  const auto linear = [](double v) {
    v /= 255;
    return v <= 0.04045 ? v / 12.92 : std::pow((v + 0.055) / 1.055, 2.4);
  };
  const double luminance = 0.2126 * linear(c.r) + 0.7152 * linear(c.g) + 0.0722 * linear(c.b);
  return luminance > 0.18 ? "onlight" : "ondark";
}

void draw_colour_bar(Drawing& drawing, const ColourScale& colours, double x, double top,
                     double height, const std::string& unit) {
  constexpr int kSteps = 48;
  const double step = height / kSteps;
  for (int i = 0; i < kSteps; ++i) {
    const double value = colours.high - (i + 0.5) / kSteps * (colours.high - colours.low);
    drawing.cell(x, top + i * step, 12, step + 0.3, hex(colours.at(value)));
  }
  Scale scale(Axis{.low = colours.low, .high = colours.high}, 0, 1,
              std::max(2, static_cast<int>(height / 40)));
  scale.place(top + height, top);
  for (const Tick& tick : scale.ticks())
    drawing.text(x + 17, scale(tick.value) + 4, tick.label, "sm mu");
  drawing.text(x + 62, top + height / 2, fitted(unit, height, 12.5), "sm", Anchor::middle, -90);
}

// Cells alone; those of a colour are one path.
Svg draw_plain(const HeatMap& map, const ColourScale& colours) {
  const double top = map.title.empty() ? 2 : 24;
  const double cell = map.width / static_cast<double>(map.columns.size());
  const double height = top + cell * static_cast<double>(map.rows.size()) + 2;
  Drawing drawing(map.width, height, map.title, map.description);
  if (!map.title.empty()) drawing.text(0, 15, fitted(map.title, map.width, 12.5), "sm bo");
  std::map<std::string, std::string> data;
  for (size_t i = 0; i < map.values.size(); ++i) {
    if (!std::isfinite(map.values[i])) continue;
    // In 32 steps, which is finer than eyes compare.
    const double range = colours.high - colours.low;
    const double step = std::round((map.values[i] - colours.low) / range * 32) / 32;
    data[hex(colours.at(colours.low + step * range))] += fmt::format(
        "M{} {}h{}v{}h-{}z", coordinate(static_cast<double>(i % map.columns.size()) * cell),
        coordinate(top + static_cast<double>(i / map.columns.size()) * cell),
        coordinate(cell - 0.5), coordinate(cell - 0.5), coordinate(cell - 0.5));
  }
  for (const auto& [colour, path] : data) drawing.filled(path, colour);
  drawing.rect(0.5, top - 0.5, map.width - 1, height - top - 1, "no gr");
  return drawing.finish();
}

}  // namespace

Svg draw(const HeatMap& map) {
  MONO_CHECK(map.values.size() == map.rows.size() * map.columns.size(),
             "heat map '{}': {} values of {} x {}", map.title, map.values.size(), map.rows.size(),
             map.columns.size());
  Extent extent;
  extent.add_all(map.values);
  if (!extent.any) return no_data(map.width, 120, map.title, map.description);
  const ColourScale colours(map);
  if (map.plain) return draw_plain(map, colours);
  double row_width = 0, column_width = 0;
  for (const std::string& name : map.rows) row_width = std::max(row_width, text_width(name, 12.5));
  for (const std::string& name : map.columns)
    column_width = std::max(column_width, text_width(name, 12.5));
  row_width = std::min(row_width, map.width * 0.3);
  const double left = row_width + 8 + (map.row_title.empty() ? 0 : 22);
  const double right = map.width - 76;
  const double across = (right - left) / static_cast<double>(map.columns.size());
  const double down = std::clamp(across, 14.0, 34.0);
  const bool numbers = column_width < 26;  // short: some are left out rather than all turned
  const bool turned = !numbers && column_width > across - 4;
  const double names = turned ? std::min(column_width, 130.0) + 8 : 18;
  const double title = map.title.empty() ? 4 : 28;
  const double top = title + (map.column_title.empty() ? 0 : 18) + names;
  const double height = top + down * static_cast<double>(map.rows.size()) + 6;

  Drawing drawing(map.width, std::max(height, top + 60), map.title, map.description);
  draw_title(drawing, map.title);
  if (!map.column_title.empty())
    drawing.text((left + right) / 2, title + 10, fitted(map.column_title, right - left, 13), "",
                 Anchor::middle);
  if (!map.row_title.empty())
    drawing.text(13, (top + height) / 2, fitted(map.row_title, height - top, 13), "",
                 Anchor::middle, -90);
  // Every n-th name where the cells are narrower than letters.
  const auto every = static_cast<size_t>(std::ceil((turned    ? 13
                                                    : numbers ? column_width
                                                              : 0) /
                                                   across));
  for (size_t c = 0; c < map.columns.size(); c += std::max<size_t>(every, 1)) {
    const double x = left + (static_cast<double>(c) + 0.5) * across;
    const std::string name =
        fitted(map.columns[c], turned ? 130 : std::max(across + 8, 26.0), 12.5);
    if (turned)
      drawing.text(x + 4, top - 6, name, "sm mu", Anchor::start, -90);
    else
      drawing.text(x, top - 6, name, "sm mu", Anchor::middle);
  }
  for (size_t r = 0; r < map.rows.size(); ++r) {
    const double y = top + static_cast<double>(r) * down;
    drawing.text(left - 6, y + down / 2 + 4, fitted(map.rows[r], row_width, 12.5), "sm mu",
                 Anchor::end);
    for (size_t c = 0; c < map.columns.size(); ++c) {
      const double value = map.values[r * map.columns.size() + c];
      const double x = left + static_cast<double>(c) * across;
      if (!std::isfinite(value)) continue;
      const Rgb colour = colours.at(value);
      const std::string text = figure_text(value, map.decimals);
      const double gap = across > 8 ? 1 : 0;
      drawing.cell(x, y, across - gap, down - 1, hex(colour),
                   fmt::format("{} {}: {}", map.rows[r], map.columns[c], text));
      if (map.print_values && text_width(text, 11.5) < across)
        drawing.text(x + (across - gap) / 2, y + down / 2 + 4, text,
                     std::string("xs ") + ink_on(colour), Anchor::middle);
    }
  }
  draw_colour_bar(drawing, colours, right + 10, top, drawing.height() - top - 7, map.unit);
  return drawing.finish();
}

}  // namespace mono::report
