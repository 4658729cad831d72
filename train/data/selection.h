// CDCL's part of CPG0004: one dose, and the compounds of the most frequent mechanisms of action.
//
// Of the treatments of dose level 6 (10 uM) those with one of the 49 mechanisms that have most
// compounds there, and DMSO, the 50th ("unknown"): 569 compounds + DMSO = 570 classes. Compounds
// without a known mechanism are left out. 42 mechanisms have seven compounds or more; of the
// sixteen with six, seven are in, and no count tells which: the publication's own list decides.
#pragma once

#include "train/data/dataset.h"

namespace mono {

struct TreatmentSelection {
  int dose_level = 6;  // 1..7
  int moas = 50;       // with DMSO's "unknown"
};

// The screen with only those sites, its classes and mechanisms numbered afresh (DMSO 0, the others
// by name). Counts compounds over the table, so that missing images change nothing. To be called
// right after open_dataset. Throws Error(usage) for another layout, a dose level outside of 1..7,
// fewer than two mechanisms, or a dose that no compound has.
Dataset select_treatments(Dataset dataset, const TreatmentSelection& selection = {});

}  // namespace mono
