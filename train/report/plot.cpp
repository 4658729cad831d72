#include "train/report/plot.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace mono::report {
namespace {

constexpr size_t kLegendNames = 24;

// The multiple of 1, 2 or 5 times a power of ten that gives about `count` steps.
double nice_step(double span, int count) {
  const double rough = span / std::max(count, 1);
  const double power = std::pow(10.0, std::floor(std::log10(rough)));
  const double lead = rough / power;
  return power * (lead < 1.41 ? 1 : lead < 3.16 ? 2 : lead < 7.07 ? 5 : 10);
}

std::string tick_label(double value, double step) {
  if (value == 0) return "0";
  const double size = std::max(std::abs(value), step);
  if (size >= 1e7 || step < 1e-5) {
    std::string text = fmt::format("{:.3g}", value);
    if (text[0] == '-') text.replace(0, 1, "−");
    return text;
  }
  const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step) + 1e-9)));
  return figure_text(value, decimals);
}

}  // namespace

void Extent::add(double value) {
  if (!std::isfinite(value)) return;
  low = any ? std::min(low, value) : value;
  high = any ? std::max(high, value) : value;
  any = true;
}

Scale::Scale(const Axis& axis, double low, double high, int ticks) : log_(axis.log) {
  low_ = axis.low.value_or(low);
  high_ = axis.high.value_or(high);
  if (!std::isfinite(low_) || !std::isfinite(high_)) low_ = 0, high_ = 1;
  if (low_ > high_) std::swap(low_, high_);
  if (log_) {
    if (low_ <= 0) low_ = high_ > 0 ? high_ / 1000 : 0.1;
    if (high_ <= low_) high_ = low_ * 10;
    const int first = static_cast<int>(std::floor(std::log10(low_) + 1e-9));
    const int last = static_cast<int>(std::ceil(std::log10(high_) - 1e-9));
    if (!axis.low) low_ = std::pow(10.0, first);
    if (!axis.high) high_ = std::pow(10.0, last);
    const int every = std::max(1, (last - first + ticks - 1) / std::max(ticks, 1));
    for (int power = first; power <= last; power += every) {
      const double value = std::pow(10.0, power);
      if (value >= low_ * (1 - 1e-9) && value <= high_ * (1 + 1e-9))
        ticks_.push_back({value, short_text(value, 1)});
    }
    return;
  }
  if (high_ - low_ <= 1e-12 * std::max(std::abs(low_), std::abs(high_)) || high_ == low_) {
    const double room = low_ == 0 ? 1 : std::abs(low_) * 0.1;
    if (!axis.low) low_ -= room;
    if (!axis.high || low_ == high_) high_ += room;
  }
  const double step = nice_step(high_ - low_, ticks);
  if (!axis.low) low_ = step * std::floor(low_ / step + 1e-9);
  if (!axis.high) high_ = step * std::ceil(high_ / step - 1e-9);
  const double first = std::ceil(low_ / step - 1e-9);
  const double last = std::floor(high_ / step + 1e-9);
  for (double i = first; i <= last && ticks_.size() < 100; ++i)
    ticks_.push_back({i * step, tick_label(i * step, step)});
}

bool Scale::shows(double value) const {
  return std::isfinite(value) && (!log_ || value > 0);
}

double Scale::operator()(double value) const {
  if (!shows(value)) return std::nan("");
  const double part =
      log_ ? (std::log10(value) - std::log10(low_)) / (std::log10(high_) - std::log10(low_))
           : (value - low_) / (high_ - low_);
  return from_ + part * (to_ - from_);
}

double draw_title(Drawing& drawing, const std::string& title) {
  if (title.empty()) return 6;
  drawing.text(0, 15, fitted(title, drawing.width(), 15.5), "ti");
  return 28;
}

double draw_legend(Drawing& drawing, const std::vector<LegendEntry>& entries, double left,
                   double top, double right) {
  constexpr double kSwatch = 20, kGap = 18, kRow = 18;
  double x = left, y = top + 11;
  const size_t shown = std::min(entries.size(), kLegendNames);
  for (size_t i = 0; i < shown; ++i) {
    const LegendEntry& entry = entries[i];
    const std::string name = fitted(entry.name, right - left - kSwatch, 12.5);
    const double width = kSwatch + text_width(name, 12.5);
    if (x > left && x + width > right) x = left, y += kRow;
    if (entry.dot)
      drawing.circle(x + 8, y - 4, 5, fill_of(entry.colour));
    else
      drawing.line(x, y - 4, x + 15, y - 4,
                   "ln " + stroke_of(entry.colour) + (entry.dashed ? " da" : ""));
    drawing.text(x + kSwatch, y, name, "sm");
    x += width + kGap;
  }
  if (entries.size() > shown) {
    const std::string rest = fmt::format("and {} more", entries.size() - shown);
    if (x + text_width(rest, 12.5) > right) x = left, y += kRow;
    drawing.text(x, y, rest, "sm mu");
  }
  return y + 9;
}

void draw_x_axis(Drawing& drawing, const Plot& plot, const Scale& x, const Axis& axis) {
  if (axis.ticks)
    for (const Tick& tick : x.ticks()) {
      const double at = x(tick.value);
      drawing.line(at, plot.top, at, plot.bottom, "gr");
      drawing.text(at, plot.bottom + 16, tick.label, "sm mu", Anchor::middle);
    }
  drawing.line(plot.left, plot.bottom, plot.right, plot.bottom, "ax");
  drawing.text((plot.left + plot.right) / 2, plot.bottom + (axis.ticks ? 35 : 18),
               fitted(axis.label, plot.width(), 13), "", Anchor::middle);
}

double y_axis_width(const Scale& y, const Axis& axis) {
  double width = 0;
  if (axis.ticks)
    for (const Tick& tick : y.ticks()) width = std::max(width, text_width(tick.label, 12.5));
  return width + (axis.label.empty() ? 10 : 30);
}

void draw_y_axis(Drawing& drawing, const Plot& plot, const Scale& y, const Axis& axis) {
  if (axis.ticks)
    for (const Tick& tick : y.ticks()) {
      const double at = y(tick.value);
      drawing.line(plot.left, at, plot.right, at, "gr");
      drawing.text(plot.left - 7, at + 4, tick.label, "sm mu", Anchor::end);
    }
  else
    drawing.line(plot.left, plot.top, plot.left, plot.bottom, "ax");
  const double x = plot.left - y_axis_width(y, axis) + 14;
  if (!axis.label.empty())
    drawing.text(x, (plot.top + plot.bottom) / 2, fitted(axis.label, plot.height(), 13), "",
                 Anchor::middle, -90);
}

Svg no_data(double width, double height, const std::string& title, const std::string& description) {
  height = std::min(height, 120.0);
  Drawing drawing(width, height, title.empty() ? "no data" : title,
                  description.empty() ? "no data" : description + " No data.");
  draw_title(drawing, title);
  drawing.rect(0.5, 32.5, width - 1, height - 33, "no gr");
  drawing.text(width / 2, (32 + height) / 2 + 5, "no data", "mu", Anchor::middle);
  return drawing.finish();
}

std::string stroke_of(int colour) {
  return fmt::format("s{}", colour % kColours);
}
std::string fill_of(int colour) {
  return fmt::format("f{}", colour % kColours);
}
int colour_at(int chosen, size_t position) {
  return chosen >= 0 ? chosen : static_cast<int>(position % kColours);
}

}  // namespace mono::report
