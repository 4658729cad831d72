// What an experiment came to: its rows with a value for every fold and seed, the order of its rows
// beside the paper's, what was asserted; as Markdown and as JSON.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/json.h"
#include "train/recipe.h"
#include "train/reproduce/catalogue.h"
#include "train/reproduce/scale.h"

namespace mono {

struct MeanSd {
  double mean = 0;
  std::optional<double> sd;  // of the sample (n - 1); none from one value
};
MeanSd mean_sd(const std::vector<double>& values);

// "75.1 ± 0.2"; with one decimal more where numbers are plain.
std::string text_of(const MeanSd& value, bool percent = true);
std::string text_of(const PaperFigure& figure, bool percent = true);

// One cell: what was measured, and why there is less than was asked for.
struct Cell {
  std::vector<std::optional<double>> values;  // one a fold and seed, as printed (percent or plain)
  std::string reason;                         // of the first that is absent
  bool failed = false;  // a training or an evaluation did, rather than never having been possible
  std::vector<double> there() const;
};

struct ResultRow {
  std::string name, recipe;
  std::string beside_the_paper;              // what it is where the paper has no such row
  std::string chosen;                        // of --grid
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
  std::vector<std::string> pictures;  // files beside the table
  std::string caption;                // of them
  std::string picture_failed;         // why there is no picture
  std::vector<CheckResult> checks;
  // "separated: paper adabn > baseline; here adabn > baseline (same)"
  std::vector<std::string> orders;
  bool failed() const;  // some cell
};

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
