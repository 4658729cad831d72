#include "train/report/page.h"

#include <fmt/format.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "train/report/page_style.h"

namespace mono::report {
namespace {

const char* class_of(Tone tone) {
  switch (tone) {
    case Tone::plain:
      return "";
    case Tone::strong:
      return "strong";
    case Tone::muted:
      return "muted";
    case Tone::inside:
      return "inside";
    case Tone::outside:
      return "outside";
  }
  return "";
}

const char* class_of(Badge kind) {
  return kind == Badge::good ? "good" : kind == Badge::caution ? "caution" : "neutral";
}

// What a tone adds for those who cannot see its colour.
const char* mark_of(Tone tone) {
  if (tone == Tone::inside) return " <abbr title=\"within the paper's ±\">✓</abbr>";
  if (tone == Tone::outside) return " <abbr title=\"outside of the paper's ±\">✗</abbr>";
  return "";
}

// A figure, its ± and its % stay on one line: with spaces that do not break.
std::string prose(const std::string& text) {
  std::string unbroken = escaped(text);
  for (const std::string_view word : {" %", " ±", "± "})
    for (size_t at = unbroken.find(word); at != unbroken.npos; at = unbroken.find(word, at + 1))
      unbroken.replace(unbroken.find(' ', at), 1, "\u00A0");
  return unbroken;
}

std::string cell_html(const Cell& cell, const Column& column, bool head) {
  std::string style = column.numeric ? "num" : "";
  if (*class_of(cell.tone)) style += (style.empty() ? "" : " ") + std::string(class_of(cell.tone));
  const char* tag = head ? "th" : "td";
  return fmt::format("<{}{}{}>{}{}</{}>", tag, head ? " scope=\"row\"" : "",
                     style.empty() ? "" : fmt::format(" class=\"{}\"", style), escaped(cell.text),
                     mark_of(cell.tone), tag);
}

}  // namespace

std::string base64(std::span<const uint8_t> bytes) {
  constexpr char kLetters[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  out.reserve((bytes.size() + 2) / 3 * 4);
  for (size_t i = 0; i < bytes.size(); i += 3) {
    const size_t count = std::min<size_t>(bytes.size() - i, 3);
    uint32_t word = static_cast<uint32_t>(bytes[i]) << 16;
    if (count > 1) word |= static_cast<uint32_t>(bytes[i + 1]) << 8;
    if (count > 2) word |= bytes[i + 2];
    for (size_t k = 0; k < 4; ++k) out += k <= count ? kLetters[(word >> (18 - 6 * k)) & 63] : '=';
  }
  return out;
}

Page::Page(std::string title) : title_(std::move(title)) {}

void Page::badge(std::string text, Badge kind) {
  badges_ += fmt::format("<li class=\"{}\">{}</li>", class_of(kind), escaped(text));
}

void Page::lead(const std::string& text) {
  lead_ += fmt::format("<p class=\"lead\">{}</p>\n", prose(text));
}

void Page::section(const std::string& title) {
  contents_.push_back(title);
  body_ += fmt::format("<h2 id=\"s{}\">{}</h2>\n", contents_.size(), escaped(title));
}

void Page::subsection(const std::string& title) {
  MONO_CHECK(!contents_.empty(), "subsection '{}' before any section", title);
  body_ += fmt::format("<h3>{}</h3>\n", escaped(title));
}

void Page::paragraph(const std::string& text) {
  body_ += fmt::format("<p>{}</p>\n", prose(text));
}

void Page::note(const std::string& text, Badge kind) {
  body_ += fmt::format("<p class=\"note {}\">{}</p>\n", class_of(kind), prose(text));
}

void Page::list(const std::vector<std::string>& items) {
  if (items.empty()) return;
  body_ += "<ul>";
  for (const std::string& item : items) body_ += fmt::format("<li>{}</li>", prose(item));
  body_ += "</ul>\n";
}

void Page::definitions(const std::vector<std::pair<std::string, std::string>>& items) {
  if (items.empty()) return;
  body_ += "<dl>";
  for (const auto& [term, meaning] : items)
    body_ += fmt::format("<div><dt>{}</dt><dd>{}</dd></div>", prose(term), prose(meaning));
  body_ += "</dl>\n";
}

void Page::code(const std::string& text, const std::string& summary) {
  const std::string block = fmt::format("<pre tabindex=\"0\"><code>{}</code></pre>", escaped(text));
  body_ += summary.empty() ? block + "\n"
                           : fmt::format("<details><summary>{}</summary>{}</details>\n",
                                         escaped(summary), block);
}

void Page::append_table(const Table& table, bool with_caption) {
  body_ += "<div class=\"wide\" role=\"group\" tabindex=\"0\"><table>";
  if (with_caption && !table.caption.empty())
    body_ += fmt::format("<caption>{}</caption>", prose(table.caption));
  body_ += "<thead><tr>";
  for (const Column& column : table.columns)
    // A head without words is no head, for a screen reader.
    body_ += column.title.empty()
                 ? "<td></td>"
                 : fmt::format("<th scope=\"col\"{}>{}</th>",
                               column.numeric ? " class=\"num\"" : "", escaped(column.title));
  body_ += "</tr></thead><tbody>\n";
  for (const auto& row : table.rows) {
    MONO_CHECK(row.size() == table.columns.size(), "table '{}': a row of {} cells, {} columns",
               table.caption, row.size(), table.columns.size());
    body_ += "<tr>";
    for (size_t c = 0; c < row.size(); ++c) body_ += cell_html(row[c], table.columns[c], c == 0);
    body_ += "</tr>\n";
  }
  body_ += "</tbody></table></div>\n";
}

void Page::table(const Table& table) {
  append_table(table, true);
}

void Page::folded_table(const Table& table) {
  body_ += fmt::format("<details><summary>{}</summary>",
                       escaped(table.caption.empty() ? "Table" : table.caption));
  append_table(table, false);
  body_ += "</details>\n";
}

void Page::append_data(const Table& data) {
  if (data.columns.empty() || data.rows.empty()) return;
  body_ += "<details><summary>Data</summary>";
  append_table(data, true);
  body_ += "</details>";
}

void Page::figure(const Svg& svg, const std::string& caption, const Table& data) {
  figures({svg}, caption, data);
}

void Page::figures(const std::vector<Svg>& svgs, const std::string& caption, const Table& data) {
  body_ += svgs.size() > 1 ? "<figure><div class=\"many\">" : "<figure>";
  for (const Svg& svg : svgs) body_ += svg.text() + "\n";
  if (svgs.size() > 1) body_ += "</div>";
  body_ += fmt::format("<figcaption>{}</figcaption>", prose(caption));
  append_data(data);
  body_ += "</figure>\n";
}

void Page::image(std::span<const uint8_t> png, const std::string& alt, const std::string& caption,
                 int width) {
  constexpr uint8_t kSignature[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  MONO_CHECK(png.size() > sizeof(kSignature) &&
                 std::equal(std::begin(kSignature), std::end(kSignature), png.begin()),
             "image '{}' is no PNG", alt);
  body_ += fmt::format("<figure><img alt=\"{}\"{} src=\"data:image/png;base64,", escaped(alt),
                       width > 0 ? fmt::format(" width=\"{}\"", width) : "");
  body_ += base64(png);
  body_ += fmt::format("\"/><figcaption>{}</figcaption></figure>\n", prose(caption));
}

std::string Page::html() const {
  std::string out = fmt::format(
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"/>\n"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src "
      "'unsafe-inline'; img-src data:\"/>\n"
      "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\"/>\n"
      "<meta name=\"color-scheme\" content=\"light dark\"/>\n"
      "<title>{}</title>\n<style>{}{}</style></head>\n<body><header><h1>{}</h1>\n",
      escaped(title_), page_css(), chart_css(), escaped(title_));
  if (!badges_.empty()) out += fmt::format("<ul class=\"badges\">{}</ul>\n", badges_);
  out += lead_ + "</header>\n";
  if (contents_.size() > 1) {
    out += "<nav aria-label=\"Contents\"><ul>";
    for (size_t i = 0; i < contents_.size(); ++i)
      out += fmt::format("<li><a href=\"#s{}\">{}</a></li>", i + 1, escaped(contents_[i]));
    out += "</ul></nav>\n";
  }
  return out + "<main>\n" + body_ + "</main></body></html>\n";
}

}  // namespace mono::report
