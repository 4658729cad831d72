// What an experiment came to: its rows with a value for every fold and seed, the order of its rows
// beside the paper's, what was asserted; as Markdown and as JSON.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "train/json.h"
#include "train/recipe.h"
#include "train/report/spread.h"
#include "train/reproduce/catalogue.h"
#include "train/reproduce/scale.h"

namespace mono {

// "75.1 ± 0.2"; with one decimal more where numbers are plain.
std::string text_of(const report::Spread& value, bool percent);
std::string text_of(const PaperFigure& figure, bool percent);

// One cell: what was measured, and why there is less than was asked for.
struct Cell {
  std::vector<std::optional<double>> values;  // one a fold and seed, as printed (percent or plain)
  std::string reason;                         // of the first that is absent
  // The first training or evaluation that failed, rather than never having been possible.
  std::optional<ErrorKind> failed;
  std::vector<double> there() const;
};

struct ResultRow {
  std::string name, recipe;
  std::string beside_the_paper;              // what it is where the paper has no such row
  size_t point = 0;                          // of PlannedRow::points: the one that was chosen
  std::string chosen;                        // its name, with --grid
  std::map<std::string, Cell> cells;         // by column
  std::map<std::string, PaperFigure> paper;  // by column
};

struct CheckResult {
  enum class Outcome { holds, fails, not_checked } outcome = Outcome::not_checked;
  std::string text;  // "adabn above baseline in separated, in every seed: 94.1 > 61.9, ..."
};

struct Result {
  const Experiment* experiment = nullptr;
  Scale scale;
  std::string start;  // CDCL: the weights that the runs start from; empty: none
  std::vector<int64_t> folds, seeds;
  std::vector<ResultRow> rows;
  std::vector<std::string> not_rehearsed;
  std::vector<std::string> pictures;        // files beside the table
  std::string caption;                      // of them
  std::string no_picture;                   // why there is none
  std::optional<ErrorKind> picture_failed;  // where it should have been possible
  std::vector<CheckResult> checks;
  // "separated: paper adabn > baseline; here adabn > baseline (same)"
  std::vector<std::string> orders;
  std::optional<ErrorKind> failed() const;  // the first cell, or the picture
};

// "baseline-posthoc, post-hoc experiment statistics (control, not AdaBN)": a row, as it is printed.
std::string title_of(const ResultRow& row);
// "folds 1, 2; seeds 1".
std::string replicates_text(const Result& result);
// The rule about ImageNet weights, of experiments of the CDCL paper; `mark` around the warning.
std::string start_text(const Result& result, const std::string& mark = "");

// The rows that were measured in a column, best first; where nothing is best, in the table's order.
std::vector<std::pair<const ResultRow*, report::Spread>> ranking(const Result& result,
                                                                 const Column& column);

// A measured figure that the paper has too.
struct BesideThePaper {
  const ResultRow* row;
  const Column* column;
  PaperFigure paper;
  report::Spread measured;
};
std::vector<BesideThePaper> beside_the_paper(const Result& result);

// Fills checks and orders from the rows. `experiments`: of the screen, for chance. Asserted only on
// recipes as they are; of changed ones the comparison is printed and nothing fails.
void judge(Result& result, int64_t experiments);

// Tables of cells, their columns as wide as the widest cell so that the source reads as a table
// too; the first row is the head.
std::string markdown_table(const std::vector<std::vector<std::string>>& rows);

std::string check_text(const CheckResult& check);  // "holds: adabn: separated above baseline, ..."
std::string result_markdown(const Result& result);
Json result_json(const Result& result);

}  // namespace mono
