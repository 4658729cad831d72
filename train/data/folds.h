// The folds of CDCL: three parts of whole domains, rotated.
//
// RXRX1-HUVEC: the 24 HUVEC experiments in order; fold f = 1..6 rotates them by 4 (f - 1) and takes
// 16 to train, 4 to validate and 4 to test. In a screen of E experiments the held-out parts have
// max(1, E/6) experiments each, and the rotation goes by as many: max(1, E/6) folds fit into E.
// Fold 1 of RxRx1 trains on its official training experiments.
// CPG0004: replicate r of a plate map is one of its five plates; fold f = 1..5 trains on replicates
// {f, f+1, f+2}, validates on f+3 and tests on f+4, counted modulo 5.
// Subset (train/recipe.h) is Table 2b's: controls I, treatments II, and for III half_sites (as run:
// without the first image of each treatment on each plate) or half_treatments (as written: odd
// class ids), both with all controls. The k-NN bank stays the whole training part. Source:
// "Metadata-guided Consistency Learning for High Content Images" (MIDL 2023), and its code.
#pragma once

#include "train/data/dataset.h"
#include "train/data/split.h"
#include "train/recipe.h"

#include <cstdint>
#include <string>

namespace mono {

const char* name_of(Subset subset);

struct FoldOptions {
  int fold = 1;
  Subset subset = Subset::all;
  std::string cell_type;            // whose experiments rotate; empty: the screen has only one
  int control_fields = 2000;        // CPG0004: at most so many DMSO fields train; 0: all
  uint64_t seed = 0;                // of the draw of those
  bool include_incomplete = false;  // also sites whose images are missing (dry runs)
  bool include_unlabelled = false;  // also sites without a class
};

int fold_count(const Dataset& dataset, const FoldOptions& options);

// Throws Error(usage) for a fold or cell type that the screen lacks, Error(data) for a part that
// comes out empty. Split::bank is the training part before `subset`.
Split make_folds(const Dataset& dataset, const FoldOptions& options);

}  // namespace mono
