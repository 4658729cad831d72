#include "train/report/svg.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/base/utf8.h"

namespace mono::report {
namespace {

struct Shade {
  const char* light;
  const char* dark;
};

// Okabe and Ito's, by Colour. In the dark those that would sink are lighter; yellow on white is
// darker, since thin lines of it could not be seen.
constexpr std::array<Shade, kColours> kPalette = {{{"#0072b2", "#4da6e0"},
                                                   {"#d55e00", "#f0803c"},
                                                   {"#009e73", "#2cc295"},
                                                   {"#cc79a7", "#dd94bd"},
                                                   {"#e69f00", "#f0b43c"},
                                                   {"#56b4e9", "#86cdf5"},
                                                   {"#d6c51a", "#f0e442"},
                                                   {"#30363d", "#d0d7de"}}};

std::string scheme_css(bool dark) {
  const char* text = dark ? "#e6edf3" : "#1b1f24";
  const char* muted = dark ? "#9aa5b1" : "#57606a";
  const char* grid = dark ? "#30363d" : "#e4e8ec";
  const char* paper = dark ? "#14181d" : "#ffffff";
  const char* axis = dark ? "#6e7781" : "#8c959f";
  std::string css = fmt::format(
      ".ch text{{fill:{}}}.ch .mu{{fill:{}}}.ch .gr{{stroke:{}}}.ch .ax{{stroke:{}}}"
      ".ch .mk{{stroke:{}}}.ch .pa{{fill:{}}}.ch .halo{{stroke:{}}}.ch .sw{{stroke:{}}}",
      text, muted, grid, axis, muted, paper, paper, paper);
  for (size_t i = 0; i < kPalette.size(); ++i) {
    const char* colour = dark ? kPalette[i].dark : kPalette[i].light;
    css += fmt::format(".ch .s{0}{{stroke:{1}}}.ch .f{0}{{fill:{1}}}", i, colour);
  }
  return css;
}

double letter_width(char c) {
  constexpr std::string_view kNarrow = "il.,:;'|!()[]ftjr I/\"-";
  constexpr std::string_view kWide = "mwMW@%";
  // Of DejaVu Sans, the widest of the fonts that chart_css() names.
  if (kNarrow.find(c) != kNarrow.npos) return 0.36;
  if (kWide.find(c) != kWide.npos) return 0.96;
  return c >= 'A' && c <= 'Z' ? 0.7 : 0.62;
}

const char* name_of(Anchor anchor) {
  return anchor == Anchor::start ? "" : anchor == Anchor::middle ? "middle" : "end";
}

}  // namespace

std::string escaped(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  for (size_t i = 0; i < text.size();) {
    const char c = text[i];
    const size_t length = utf8_length(text.substr(i));
    const bool control = (static_cast<uint8_t>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7F;
    // U+0080..U+009F, and U+FFFE and U+FFFF, which XML does not have either.
    const std::string_view sequence = text.substr(i, length);
    const bool not_a_letter = (length == 2 && sequence < "\xC2\xA0") ||
                              sequence == "\xEF\xBF\xBE" || sequence == "\xEF\xBF\xBF";
    if (length == 0 || control || not_a_letter)
      out += "\xEF\xBF\xBD";
    else if (c == '&')
      out += "&amp;";
    else if (c == '<')
      out += "&lt;";
    else if (c == '>')
      out += "&gt;";
    else if (c == '"')
      out += "&quot;";
    else if (c == '\'')
      out += "&#39;";
    else
      out += sequence;
    i += length == 0 ? 1 : length;
  }
  return out;
}

std::string coordinate(double value) {
  if (!std::isfinite(value)) return "0";
  // Hundredths as an integer: much quicker than a general formatter, for 60,000 points.
  const auto hundredths = static_cast<int64_t>(std::llround(std::clamp(value, -1e9, 1e9) * 100));
  const int64_t size = hundredths < 0 ? -hundredths : hundredths;
  std::string out = hundredths < 0 ? "-" : "";
  out += fmt::format_int(size / 100).c_str();
  if (const int64_t rest = size % 100) {
    out += '.';
    out += static_cast<char>('0' + rest / 10);
    if (rest % 10) out += static_cast<char>('0' + rest % 10);
  }
  return out;
}

std::string figure_text(double value, int decimals) {
  if (!std::isfinite(value)) return "–";
  std::string digits = fmt::format("{:.{}f}", std::abs(value), decimals);
  const size_t point = std::min(digits.find('.'), digits.size());
  for (size_t i = point; i > 3; i -= 3) digits.insert(i - 3, ",");
  const bool zero = digits.find_first_not_of("0.,") == digits.npos;
  return (value < 0 && !zero ? "−" : "") + digits;
}

std::string short_text(double value, int significant) {
  if (!std::isfinite(value)) return "–";
  if (value == 0) return "0";
  const double size = std::abs(value);
  const int exponent = static_cast<int>(std::floor(std::log10(size)));
  if (exponent < -4 || exponent > 9) {
    std::string text = fmt::format("{:.{}e}", value, std::max(significant - 1, 0));
    if (text[0] == '-') text.replace(0, 1, "−");
    return text;
  }
  std::string text = figure_text(value, std::max(significant - 1 - exponent, 0));
  if (text.find('.') != text.npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text;
}

std::string chart_css() {
  return ".ch{font:13px system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}"
         ".ch .ti{font-size:15px;font-weight:600}.ch .sm{font-size:12px}.ch .xs{font-size:10.5px}"
         ".ch .bo{font-weight:600}"
         ".ch .ln{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}"
         ".ch .th{stroke-width:1.2}.ch .da{stroke-dasharray:6 4}.ch .bd{fill-opacity:.18}"
         ".ch .hi{fill-opacity:.45}.ch .dt{fill:none;stroke-linecap:round}"
         ".ch .op{stroke-opacity:.75}.ch .gr,.ch .ax{stroke-width:1}"
         ".ch .mk{stroke-width:1.2;stroke-dasharray:3 3}.ch .er{stroke-width:1.6}"
         ".ch .no{fill:none}.ch .halo{stroke-width:3;stroke-linejoin:round;paint-order:stroke}"
         ".ch .sw{stroke-width:1.5}.ch .onlight{fill:#14181d}.ch .ondark{fill:#fff}" +
         scheme_css(false) + "@media screen and (prefers-color-scheme:dark){" + scheme_css(true) +
         "}";
}

std::string Svg::file() const {
  const size_t after_tag = text_.find('>') + 1;
  std::string out = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n" + text_;
  // The content begins where <title> does; style and background come behind <desc>.
  const size_t shift = out.size() - text_.size();
  const size_t place = out.find("</desc>", after_tag + shift) + 7;
  out.insert(place, fmt::format("<style>{}</style><rect class=\"pa\" width=\"{}\" height=\"{}\"/>",
                                chart_css(), coordinate(width_), coordinate(height_)));
  return out + "\n";
}

Svg Svg::with_footer(std::string_view text) const {
  constexpr double kFooter = 22;
  Drawing footer(width_, height_ + kFooter, "", "");
  footer.text(4, height_ + 15, fitted(text, width_ - 8, 12), "sm bo");
  // Its first tag, what is in this drawing, and what is behind its own description.
  const std::string drawn = footer.finish().text();
  const size_t begin = text_.find('>') + 1, end = text_.rfind("</svg>");
  return Svg(drawn.substr(0, drawn.find('>') + 1) + text_.substr(begin, end - begin) +
                 drawn.substr(drawn.find("</desc>") + 7),
             width_, height_ + kFooter);
}

double text_width(std::string_view text, double size) {
  double width = 0;
  for (const char c : text) {
    if ((static_cast<uint8_t>(c) & 0xC0) == 0x80) continue;  // inside of a letter
    width += static_cast<uint8_t>(c) < 0x80 ? letter_width(c) : 0.62;
  }
  return width * size;
}

std::string fitted(std::string_view text, double width, double size) {
  if (text_width(text, size) <= width) return std::string(text);
  size_t end = text.size();
  while (end > 0 && text_width(text.substr(0, end), size) + size > width) {
    --end;
    while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80) --end;
  }
  return std::string(text.substr(0, end)) + "…";
}

Drawing::Drawing(double width, double height, std::string_view title, std::string_view description)
    : width_(width), height_(height) {
  text_ = fmt::format(
      "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"ch\" role=\"img\" width=\"{0}\" "
      "height=\"{1}\" viewBox=\"0 0 {0} {1}\"><title>{2}</title><desc>{3}</desc>",
      coordinate(width), coordinate(height), escaped(title),
      escaped(description.empty() ? title : description));
}

void Drawing::tip_or_end(std::string_view element, std::string_view tip) {
  text_ += tip.empty() ? "/>" : fmt::format("><title>{}</title></{}>", escaped(tip), element);
}

void Drawing::line(double x1, double y1, double x2, double y2, std::string_view style) {
  text_ += fmt::format("<path class=\"{}\" d=\"M{} {}L{} {}\"/>", style, coordinate(x1),
                       coordinate(y1), coordinate(x2), coordinate(y2));
}

void Drawing::rect(double x, double y, double width, double height, std::string_view style,
                   std::string_view tip) {
  text_ += fmt::format("<rect class=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", style,
                       coordinate(x), coordinate(y), coordinate(std::max(width, 0.0)),
                       coordinate(std::max(height, 0.0)));
  tip_or_end("rect", tip);
}

void Drawing::cell(double x, double y, double width, double height, std::string_view fill,
                   std::string_view tip) {
  text_ +=
      fmt::format("<rect fill=\"{}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"", escaped(fill),
                  coordinate(x), coordinate(y), coordinate(width), coordinate(height));
  tip_or_end("rect", tip);
}

void Drawing::circle(double x, double y, double radius, std::string_view style,
                     std::string_view tip) {
  text_ += fmt::format("<circle class=\"{}\" cx=\"{}\" cy=\"{}\" r=\"{}\"", style, coordinate(x),
                       coordinate(y), coordinate(radius));
  tip_or_end("circle", tip);
}

void Drawing::path(std::string_view data, std::string_view style) {
  if (data.empty()) return;
  text_ += fmt::format("<path class=\"{}\" d=\"", style);
  text_ += data;
  text_ += "\"/>";
}

void Drawing::filled(std::string_view data, std::string_view fill) {
  if (data.empty()) return;
  text_ += fmt::format("<path fill=\"{}\" d=\"", escaped(fill));
  text_ += data;
  text_ += "\"/>";
}

void Drawing::dots(std::string_view data, double diameter, std::string_view style) {
  if (data.empty()) return;
  text_ +=
      fmt::format("<path class=\"dt {}\" stroke-width=\"{}\" d=\"", style, coordinate(diameter));
  text_ += data;
  text_ += "\"/>";
}

void Drawing::text(double x, double y, std::string_view text, std::string_view style, Anchor anchor,
                   double turn) {
  text_ += "<text";
  if (!style.empty()) text_ += fmt::format(" class=\"{}\"", style);
  text_ += fmt::format(" x=\"{}\" y=\"{}\"", coordinate(x), coordinate(y));
  if (anchor != Anchor::start) text_ += fmt::format(" text-anchor=\"{}\"", name_of(anchor));
  if (turn != 0)
    text_ += fmt::format(" transform=\"rotate({} {} {})\"", coordinate(turn), coordinate(x),
                         coordinate(y));
  text_ += fmt::format(">{}</text>", escaped(text));
}

void Drawing::open_window(double x, double y, double width, double height) {
  // A nested <svg> cuts off what lies outside, and needs no id as a clip path would.
  text_ += fmt::format(
      "<svg x=\"{0}\" y=\"{1}\" width=\"{2}\" height=\"{3}\" viewBox=\"{0} {1} {2} {3}\">",
      coordinate(x), coordinate(y), coordinate(std::max(width, 0.01)),
      coordinate(std::max(height, 0.01)));
}

void Drawing::close_window() {
  text_ += "</svg>";
}

Svg Drawing::finish() {
  return Svg(text_ + "</svg>", width_, height_);
}

}  // namespace mono::report
