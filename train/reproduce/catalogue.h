// Every table and figure of the two papers, as data: which recipes, on which splits or folds, for
// how many seeds, which figures of a run's evaluation stand in which column, what is asserted.
//
// Nothing here says what is trained together: two rows whose recipes resolve to the same keys are
// the same run (plan.h), so that table2/default-adabn, table6/self and fig10/adabn are Table 1's
// AdaBN runs without anybody saying so. The published figures are in the recipes' [paper].
// Sources: "RxRx1" (Sypetkowski et al. 2023), "CDCL" (Haslum et al. 2023); tables 1 to 6 and 1
// to 5.
#pragma once

#include <string>
#include <vector>

namespace mono {

// What is best in a column: nothing where the figure is about the data and not about the method.
enum class Best { highest, lowest, nothing };

// One figure of a run's evaluation.
struct Column {
  std::string key;         // in a recipe's [paper] and in table.json
  std::string title;       // as printed
  std::string figure;      // in the evaluation's JSON: "accuracy", "accuracy_by_cell_type/HUVEC"
  std::string split = {};  // the data.split of the run that is asked; empty: the recipe's own
  std::string over = {};   // divided by the same figure on this split, seed by seed
  bool percent = true;     // a fraction there, printed in percent; else a plain number
  Best best = Best::highest;
};

struct Row {
  std::string name;                    // within its experiment, as --methods takes it
  std::string recipe;                  // at paper scale; its rehearsal is smoke/RECIPE
  std::vector<std::string> sets = {};  // over what the command line sets
  std::string starts_from = {};  // a row of the experiment: its backbone is where this one starts
  std::string beside_the_paper = {};  // of rows that the paper does not have: what they are
  bool rehearsed = true;              // whether it has a smoke twin
};

// What must hold in every fold and seed.
struct Check {
  std::string row, column;
  // Either: more than in `than` by `margin` points.
  std::string than = {};
  double margin = 0;
  // Or: at most so many times chance, 100 % / the screen's experiments.
  double times_chance = 0;
};

// Whose images an experiment is about.
enum class ScreenKind { rxrx1, cpg0004 };

struct Experiment {
  std::string id;     // "rxrx1/table1"
  std::string title;  // what it shows, a line
  std::vector<Column> columns = {};
  std::vector<Row> rows = {};  // none: a picture of the screen or of the model
  ScreenKind screen = ScreenKind::rxrx1;
  bool cdcl = false;       // of the CDCL paper: on its part of the screen, by its evaluation
  int64_t replicates = 0;  // so many seeds and folds at most; 0: as recipes say
  std::vector<std::string> ordered_by = {};  // columns in which orders of rows are compared
  std::vector<Check> checks = {};
  bool needs_classes = true;  // of the test images
  std::string note = {};      // below the table
};

// All of them, in the papers' order.
const std::vector<Experiment>& catalogue();

// Those that `name` stands for: one id, or a group: "rxrx1", "cdcl", "wilds". Error(usage) lists
// what there is, and the nearest right name.
std::vector<const Experiment*> find_experiments(const std::string& name);

// A row for each recipe FOLDER/NAME.
std::vector<Row> rows_of(const std::string& folder, const std::vector<std::string>& names);

std::vector<Experiment> rxrx1_experiments();
std::vector<Experiment> cdcl_experiments();

}  // namespace mono
