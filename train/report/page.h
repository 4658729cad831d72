// One HTML file that holds everything: text, tables, charts as inline SVG, pictures as base64. No
// script, no network (a Content-Security-Policy says so), light and dark, and it prints.
//
//   Page page("AdaBN on a synthetic screen");
//   page.badge("synthetic", Badge::caution);
//   page.lead("AdaBN is right on 94.6 % of unseen experiments, the baseline on 62.0 %.");
//   page.section("Curves");
//   page.figure(chart, "Training loss.");
//   write_file_durably("report.html", page.html());
//
// All text is text: what looks like markup is shown as it is. Only Svg, which Drawing makes, goes
// in unchanged.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "train/report/chart.h"

namespace mono::report {

enum class Badge { neutral, good, caution };

class Page {
 public:
  explicit Page(std::string title);

  // Under the title: "synthetic", "smoke", "real images, no paper figure", "still training".
  void badge(std::string text, Badge kind = Badge::neutral);
  // What a newcomer reads first, in large letters.
  void lead(const std::string& text);

  void section(const std::string& title);     // h2, in the table of contents
  void subsection(const std::string& title);  // h3; after a section
  void paragraph(const std::string& text);
  // Set apart: what a figure does not say, what is missing and how to get it.
  void note(const std::string& text, Badge kind = Badge::neutral);
  void list(const std::vector<std::string>& items);
  void definitions(const std::vector<std::pair<std::string, std::string>>& items);
  // Line breaks are kept. With a summary it is folded away behind it.
  void code(const std::string& text, const std::string& summary = {});
  void table(const Table& table);
  // The same, folded away behind its caption.
  void folded_table(const Table& table);

  // A drawing, its caption, and its data folded away below.
  void figure(const Svg& svg, const std::string& caption, const Table& data = {});
  template <class Chart>
  void figure(const Chart& chart, const std::string& caption) {
    figure(draw(chart), caption, data_table(chart));
  }
  // Several small ones side by side under one caption.
  void figures(const std::vector<Svg>& svgs, const std::string& caption, const Table& data = {});
  // A picture: the bytes of a PNG file. `alt` says what it shows; `width` in CSS pixels, 0: its
  // own. ErrorKind::internal if the bytes do not begin as a PNG does.
  void image(std::span<const uint8_t> png, const std::string& alt, const std::string& caption,
             int width = 0);

  // The whole file.
  std::string html() const;

 private:
  void append_table(const Table& table, bool with_caption);
  void append_data(const Table& data);

  std::string title_, badges_, lead_, body_;
  std::vector<std::string> contents_;  // sections; the ids are s1, s2, ...
};

// RFC 4648, with padding.
std::string base64(std::span<const uint8_t> bytes);

}  // namespace mono::report
