// kBET: whether the neighbourhoods of an embedding hold the batches in their overall proportions.
//
// For each sample: the observed counts o_b of the batches among its K nearest (by cosine), against
// f_b K with f_b the batch's share of all samples:
//   x = sum_b (o_b - f_b K)^2 / (f_b K),  p = 1 - P((batches - 1) / 2, x / 2)
// The score is the share of samples with p >= alpha: 1 is perfectly mixed.
//
// Consistent form (Buettner 2019): the neighbourhood is the sample itself and its K - 1 nearest.
// cdcl_compat: the K - 1 nearest without the sample, against f_b K all the same, as CDCL's code.
// K: 0.5 % of the samples, rounded down, as the paper; but at least 10, and at least 5 a batch, up
// to a quarter of the samples: a chi-squared test of smaller expected counts (Cochran 1954) accepts
// nearly everything. At the paper's sizes (9,854 images of 4 batches, 39,342 of 16) 0.5 % is more.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/functional/nearest.h"

namespace mono {

struct KbetOptions {
  int neighbours = 0;  // K; 0: the rule above
  double alpha = 0.05;
  bool cdcl_compat = false;
};

struct Kbet {
  double score = 0;  // 0..1
  int64_t samples = 0;
  int neighbours = 0;     // K
  int batches = 0;        // that have rows
  std::vector<double> p;  // a sample's
};

// The K of the rule for so many samples of so many batches.
int kbet_neighbours(int64_t samples, int batches);

// batches (rows): numbers from 0 on. Errors: data for a single batch, fewer samples than K, or
// values that are not finite.
Kbet kbet(FeatureView features, std::span<const int> batches, const KbetOptions& options = {});

}  // namespace mono
