// What images are labelled with: their treatment, their mechanism of action, or a table of the
// user.
#pragma once

#include "train/data/dataset.h"

#include <filesystem>
#include <string>
#include <vector>

namespace mono {

enum class LabelKind { treatment, moa };

struct Labels {
  std::vector<std::string> names;  // [class]
  std::vector<int> of_site;        // [site] -> class; -1: unknown
};

// The dataset's own labels. For moa the classes are Dataset::moas, "unknown" (DMSO's) among them:
// fifty in CDCL's selection. Throws Error(usage) for moa of a screen whose tables have none.
Labels dataset_labels(const Dataset& dataset, LabelKind kind);

// A table with the columns `treatment` (a name of Dataset::class_names) and `label`; classes are
// the labels in order of their names. Every treatment of the dataset must have exactly one row.
// Throws Error(data) naming file, row and both values.
Labels table_labels(const Dataset& dataset, const std::filesystem::path& file);

}  // namespace mono
