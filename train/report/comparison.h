// Runs sorted into methods: runs on one screen that differ in seed, split and fold only are one
// row, and each column has a value for each of them. What stands in a report's first lines and
// tables.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "train/data/published.h"
#include "train/report/run_record.h"
#include "train/report/spread.h"
#include "train/report/table.h"

namespace mono::report {

struct ComparisonColumn {
  std::string key, title;
  bool percent = true;
  bool low_is_better = false;
};

struct ComparisonRow {
  std::string title;     // "adabn"; unique
  bool control = false;  // the same runs with other statistics of batch norm than trained for
  std::vector<const RunRecord*> runs;
  std::vector<const EvaluationRecord*> evaluations;   // that the values are of
  std::map<std::string, std::vector<double>> values;  // by column, a value a run, as printed
  std::map<std::string, PaperFigure> paper;           // by column

  Spread at(const std::string& column) const;
  size_t most_runs() const;  // behind a figure
};

// Whose images a report is of.
struct Screen {
  std::shared_ptr<const Dataset> dataset;  // null: it could not be opened, `problem` says why
  std::string path, problem;
  bool cdcl = false;               // whose screen `scale` is measured by
  std::optional<DataScale> scale;  // nothing where it could not be opened
  std::string text() const;  // "the synthetic screen 'screen': 1,920 sites of 10 experiments, ..."
};
// `cdcl`: whether the runs are of the CDCL paper's recipes.
Screen open_screen(const std::string& path, bool cdcl);

struct Comparison {
  std::vector<ComparisonColumn> columns;  // of which there is any value
  std::vector<ComparisonRow> rows;  // in the order in which methods came; controls behind theirs
  std::vector<Screen> screens;      // that the runs were trained on, each once a paper
  std::string headline;             // the column that decides; empty: nothing was evaluated
  double chance = 0;                // percent, of the headline; 0: it has none, or several
  bool smoke = false;               // some recipe is of smoke/
  // Why the figures are not the paper's experiment though the screens are its: "changed recipe".
  std::string obstacle;
  bool paper_scale = false;  // no obstacle, not smoke, and all of the paper's screen

  const ComparisonColumn* column(const std::string& key) const;
  // The row that wins in the headline, controls aside; null: nothing was evaluated.
  const ComparisonRow* best() const;
  // What our figures may be called beside the paper's: "ours" at paper scale only.
  std::string our_name() const;
  // Two or three sentences: who wins, by how much, on what.
  std::vector<std::string> lead() const;
};

// Why a run's figures may not stand beside the paper's as "ours", whatever the screen: "changed
// recipe" (other than in seed, split, fold and where the ImageNet weights lie), "from scratch",
// "unfinished run", "outdated evaluation". Empty: they may.
std::string paper_obstacle(const RunRecord& run);
// Whether runs of one method are all `folds` of the rotation, each as often; true of runs without.
bool has_all_folds(const std::vector<const RunRecord*>& runs, int folds);

// `runs` must outlive the result.
Comparison compare(const std::vector<RunRecord>& runs);

// Rows against columns, the best of each column strong.
Table comparison_table(const Comparison& comparison);
// Each figure that the paper has, beside ours; rows only where both are there. Differences at paper
// scale only.
Table paper_table(const Comparison& comparison);

}  // namespace mono::report
