// `train_rxrx reproduce cdcl/...`: Table 1 of CDCL, and Table 3, with the floors in the same table.
// Every method on every fold for every seed; runs are OUT/METHOD/fold-F/seed-N, what is there
// already is resumed or used as it is.
//
// --grid KEY=V1,V2,...: every method is trained with each value (OUT/METHOD/KEY=V/...) and the best
// by validation alone, mean over folds and seeds, is the one that is evaluated.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/commands.h"
#include "train/json.h"
#include "train/recipe.h"

namespace mono {

struct CdclMethod {
  std::string name;    // "ssl-dino-cb"
  std::string recipe;  // "smoke/cdcl/table1/ssl-dino-cb"
  bool floor = false;  // a row that the paper does not have
  std::vector<int64_t> folds, seeds;
};

// Whether `table` is one of these, and their names.
const std::vector<std::string>& cdcl_tables();

// The rows that the options ask for, floors first. Errors: usage.
std::vector<CdclMethod> cdcl_methods(const ReproduceOptions& options);

// One point of a grid: what is set, and how folders and tables call it; empty without --grid.
struct GridPoint {
  std::vector<std::string> sets;
  std::string name;
};
// The product of the options' --grid. Errors: usage for one that is not KEY=V1,V2,...
std::vector<GridPoint> grid_points(const std::vector<std::string>& grid);

struct CdclRow {
  std::string method;
  bool floor = false;
  std::string chosen;                                  // of the grid
  std::map<std::string, std::vector<double>> figures;  // column -> percent, one a fold and seed
  std::map<std::string, PaperFigure> paper;
};

struct CdclTable {
  std::string name;          // "smoke/cdcl/table1"
  bool paper_scale = false;  // the paper's recipes, untouched, from ImageNet weights, on all of it
  std::string start;         // what the runs start from, for the rule at the head
  std::vector<int64_t> folds, seeds;
  std::vector<CdclRow> rows;
};

std::string cdcl_table_markdown(const CdclTable& table);
Json cdcl_table_json(const CdclTable& table);

// Does the work and prints the table. Returns 0, or 75 where training was interrupted.
int execute_cdcl_table(const ReproduceOptions& options);

}  // namespace mono
