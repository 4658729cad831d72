// SVG by hand: a drawing whose text is escaped and whose numbers are short and the same in every
// locale.
//
// Colours are classes (`s3` strokes with colour 3, `f3` fills), so that a page, or the style inside
// of an SVG file, decides what they are in light and in dark. The palette is Okabe and Ito's, which
// people with any kind of colour blindness can tell apart (Color Universal Design, 2008).
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace mono::report {

// Text for HTML and XML, in elements and in quoted attributes: & < > " ' are replaced, and what
// neither language allows (control characters, bytes that are not UTF-8) becomes U+FFFD.
std::string escaped(std::string_view text);

// A coordinate: at most two digits after the point, no trailing zeros, no "-0"; 0 if not finite.
std::string coordinate(double value);

// A figure for people: `decimals` digits, thousands separated by commas, a true minus sign; a dash
// if it is not finite.
std::string figure_text(double value, int decimals);
// The same with as many digits as the value needs for `significant` of them.
std::string short_text(double value, int significant = 4);

// The number of colours; others are taken modulo it.
inline constexpr int kColours = 8;
enum Colour : int { blue, vermilion, green, purple, orange, sky, yellow, ink };

// The styles of the classes that drawings use, for light, dark (`screen` only) and print.
std::string chart_css();

// An <svg> element. Only Drawing makes one, so that whoever embeds it need not escape.
class Svg {
 public:
  const std::string& text() const { return text_; }  // for HTML: no declaration, no style
  std::string file() const;  // a file of its own: with the namespace, chart_css() and a background
  // With a line of text below it, cut to its width.
  Svg with_footer(std::string_view text) const;
  double width() const { return width_; }
  double height() const { return height_; }

 private:
  friend class Drawing;
  Svg(std::string text, double width, double height)
      : text_(std::move(text)), width_(width), height_(height) {}
  std::string text_;
  double width_, height_;
};

enum class Anchor { start, middle, end };

// The width of text in units of the drawing, estimated from the kinds of its letters.
double text_width(std::string_view text, double size);
// Cut to that width, with an ellipsis.
std::string fitted(std::string_view text, double width, double size);

class Drawing {
 public:
  // Units are CSS pixels. `title` and `description` become <title> and <desc>: what a screen reader
  // says instead of the picture.
  Drawing(double width, double height, std::string_view title, std::string_view description);

  // `style` is a list of classes (chart_css); `tip` is shown by browsers where the mouse rests.
  void line(double x1, double y1, double x2, double y2, std::string_view style);
  void rect(double x, double y, double width, double height, std::string_view style,
            std::string_view tip = {});
  // Filled with a colour that is no class, of a colour scale: "#440154".
  void cell(double x, double y, double width, double height, std::string_view fill,
            std::string_view tip = {});
  void circle(double x, double y, double radius, std::string_view style, std::string_view tip = {});
  // The same for a path.
  void filled(std::string_view data, std::string_view fill);
  // `data`: made of coordinate() and path letters.
  void path(std::string_view data, std::string_view style);
  // A dot of that diameter at each place of `data` ("M x,y h0" each): one element for all of them.
  void dots(std::string_view data, double diameter, std::string_view style);
  // `turn`: degrees clockwise about the place.
  void text(double x, double y, std::string_view text, std::string_view style,
            Anchor anchor = Anchor::start, double turn = 0);
  // What is drawn until close_window() is cut off at this rectangle. Coordinates stay the same.
  void open_window(double x, double y, double width, double height);
  void close_window();

  double width() const { return width_; }
  double height() const { return height_; }
  Svg finish();

 private:
  void tip_or_end(std::string_view element, std::string_view tip);
  std::string text_;
  double width_, height_;
};

}  // namespace mono::report
