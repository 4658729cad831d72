// What figures are worth: only those of the paper's own recipes on all of its own images are "ours"
// beside the paper's; all others say what they are of.
#pragma once

#include <string>

#include "train/data/dataset.h"

namespace mono {

enum class DataScale { full, partial, synthetic };

struct Scale {
  DataScale data = DataScale::synthetic;
  bool smoke = false;            // rehearsal recipes
  bool changed = false;          // recipes changed by --set or --grid; all folds were not run
  bool missing_weights = false;  // the paper's runs start from ImageNet weights, these do not
  bool ours() const { return data == DataScale::full && !smoke && !changed && !missing_weights; }
  // "full data", or "smoke recipes, synthetic data".
  std::string text() const;
};

// Whether a screen is RxRx1 itself: all of its images, classes and experiments are there.
bool is_complete_rxrx1(const Dataset& dataset);
// Whether it has all of RXRX1-HUVEC.
bool is_complete_huvec(const Dataset& dataset);
// Whether it has all of what CDCL used of CPG0004-LINCS: five replicates of 569 compounds.
bool is_complete_cpg0004(const Dataset& dataset);
// Whether `data synth` made it.
bool is_synthetic(const Dataset& dataset);

}  // namespace mono
