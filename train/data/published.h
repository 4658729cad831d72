// Whether a screen is one that was published, whole: only figures on all of a paper's images may
// stand beside the paper's. Everything else is a part of one, or `data synth`'s.
#pragma once

#include "train/data/dataset.h"

namespace mono {

enum class DataScale { full, partial, synthetic };

// Whether a screen is RxRx1 itself: all of its images, classes and experiments are there.
bool is_complete_rxrx1(const Dataset& dataset);
// Whether it has all of RXRX1-HUVEC.
bool is_complete_huvec(const Dataset& dataset);
// Whether it has all of what CDCL used of CPG0004-LINCS: all plates, with the fields of 569
// compounds at 10 uM on each of the five replicates.
bool is_complete_cpg0004(const Dataset& dataset);
// Whether `data synth` made it; never one that a screen.toml describes.
bool is_synthetic(const Dataset& dataset);

// Of a screen that recipes of the CDCL paper (`cdcl`), or of RxRx1's, are run on.
DataScale data_scale(const Dataset& dataset, bool cdcl);

}  // namespace mono
