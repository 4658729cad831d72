// The tables of a screen, in every form in which RxRx1 was published, read into Dataset::sites;
// those of CPG0004 are read by cpg_tables.h, those that a screen.toml describes by screen_table.h.
//   rxrx          metadata.csv or rxrx1.csv: a row per site, with sirna and sirna_id
//   wilds         the same columns, `dataset` in {train, val, test}
//   kaggle        train.csv, test.csv, train_controls.csv, test_controls.csv: a row per well, sirna
//                 an integer (equal to rxrx.ai's sirna_id)
//   kaggle_names  the same files as published again, sirna a name ("sirna_250", "UNTREATED")
// Extra columns are ignored. Every row is checked; see docs of problems in train/data/README.md.
#pragma once

#include "train/data/dataset.h"

#include <vector>

namespace mono {

// Fills form, tables, experiments, cell_types, class_names, sites and num_classes from the tables
// below dataset.root. Each faulty row becomes a Problem and is left out. Throws Error(data) where
// no table can be read at all.
void read_tables(Dataset& dataset, std::vector<Problem>& problems);

}  // namespace mono
