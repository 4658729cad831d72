// The table and the tree of a screen that a screen.toml describes (screen_file.h).
//
// A row is a site, or, without columns.site, a well that stands for table.sites of them. Classes:
// treatments in natural order of their names (sirna_2 before sirna_10), then positive, then
// negative controls, each likewise. Plates of an experiment are numbered from 1 in natural order of
// their names. Without cell types there is one, kCells; without plates one an experiment, "1".
#pragma once

#include "train/data/dataset.h"

#include <string>
#include <vector>

namespace mono {

inline constexpr const char* kCells = "cells";  // the cell type where the table names none

// False if the root has no screen.toml; else fills what read_tables() fills, moas, channels,
// plate_names, tiff_white and every site's files. Each faulty row becomes a Problem and is left
// out. Throws Error(usage) for a fault of screen.toml itself and Error(data) where the table cannot
// be read at all.
bool read_screen_table(Dataset& dataset, std::vector<Problem>& problems);

// As scan_tree() (tree.h).
void scan_screen_tree(Dataset& dataset, std::vector<Problem>& problems,
                      std::vector<std::string>& notes);

}  // namespace mono
