// One-nearest-neighbour mechanism of action, not the same compound (CDCL, Table 2a).
//
//   1  per plate: subtract the mean and divide by the (population) standard deviation + 1e-8 of its
//      negative controls; of the whole plate where it has fewer than two
//   2  rows divided by their norm, then averaged within a treatment
//   3  the nearest treatment of another compound, by cosine; right if its mechanism is the same
// All treatments are candidates, the controls' among them; controls and treatments without a known
// mechanism are never right and are not asked themselves.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/functional/nearest.h"
#include "train/evaluate/figures.h"

namespace mono {

struct MoaRows {  // all (rows)
  std::span<const int> plate, treatment;
  std::span<const int> compound;  // may be empty: each treatment is a compound of its own
  std::span<const int> moa;       // -1: unknown
  std::span<const uint8_t> is_control;
};

struct Moa {
  Share accuracy;                    // over the treatments that are asked
  int candidates = 0;                // treatments, the controls' included
  int controls = 0;                  // rows that step 1 used
  int plates = 0, whole_plates = 0;  // those without two controls
  std::vector<int> nearest;          // [treatment] -> treatment; -1: not asked
};

// Errors: data where a treatment has two mechanisms or two compounds, or nothing can be asked.
Moa one_nn_moa(FeatureView features, const MoaRows& rows);

}  // namespace mono
