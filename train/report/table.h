// A table of texts, as a page shows it and as a chart gives away its data.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace mono::report {

// How a cell stands out. Never by colour alone: `inside` and `outside` also carry a mark.
enum class Tone {
  plain,
  strong,   // the best of its column
  muted,    // not run, not reported
  inside,   // a difference that the paper's ± covers
  outside,  // one that it does not
};

struct Cell {
  Cell() = default;
  Cell(std::string words, Tone how = Tone::plain) : text(std::move(words)), tone(how) {}
  Cell(const char* words, Tone how = Tone::plain) : text(words), tone(how) {}
  std::string text;
  Tone tone = Tone::plain;
};

struct Column {
  std::string title;
  bool numeric = false;  // aligned to the right, digits of one width
};

struct Table {
  std::string caption = {};
  std::vector<Column> columns = {};
  std::vector<std::vector<Cell>> rows =
      {};  // each as long as `columns`; its first cell is its head
};

// ours - paper in percentage points, "+0.4", and whether the paper's ± covers it: `inside`,
// `outside`, or `plain` where it has no ±.
Cell difference_cell(double ours, double paper, std::optional<double> spread);

}  // namespace mono::report
