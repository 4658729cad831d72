// What figures are worth: only those of the paper's own recipes on all of its own images are "ours"
// beside the paper's; all others say what they are of.
#pragma once

#include <string>

#include "train/data/published.h"

namespace mono {

struct Scale {
  DataScale data = DataScale::synthetic;
  bool smoke = false;            // rehearsal recipes
  bool changed = false;          // recipes changed by --set or --grid; all folds were not run
  bool missing_weights = false;  // the paper's runs start from ImageNet weights, these do not
  bool ours() const { return data == DataScale::full && !smoke && !changed && !missing_weights; }
  // "full data", or "smoke recipes, synthetic data".
  std::string text() const;
};

}  // namespace mono
