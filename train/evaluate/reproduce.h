// `train_rxrx reproduce rxrx1/table1`: trains every method on both splits for every seed, evaluates
// each, and writes OUT/table.md and OUT/table.json. Runs are OUT/METHOD/SPLIT/seed-N; what is there
// already is resumed or used as it is, so that an interrupted table goes on where it stopped.
#pragma once

#include <string>
#include <vector>

#include "train/commands.h"

namespace mono {

struct Table1Method {
  std::string name;    // "adabn"
  std::string recipe;  // "smoke/rxrx1/table1/adabn"
  std::vector<int64_t> seeds;
};

// The rows that the options ask for, in the paper's order. Errors: usage (a table or method that
// does not exist).
std::vector<Table1Method> table1_methods(const ReproduceOptions& options);

// Does the work and prints the table. Returns 0, or 75 where training was interrupted.
int execute_table1(const ReproduceOptions& options);

}  // namespace mono
