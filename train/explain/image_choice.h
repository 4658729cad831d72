// The images that an explanation looks at, and which of them teach a probe.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "train/data/dataset.h"

namespace mono {

struct ImageChoice {
  std::vector<int> sites;          // indices into Dataset::sites, ascending
  std::vector<int> experiments;    // of them, ascending
  std::vector<int> domain;         // [row] index into `experiments`
  std::vector<uint8_t> in_bank;    // [row] 1: teaches a probe, 0: asks it
  std::vector<int64_t> of_domain;  // images of each
};

// At most `per_experiment` images of each experiment of `sites`, and at most `in_all` (a share of
// it for each experiment, two at least). Whole wells, in an order drawn from the seed, so that the
// images of a well are on one side: of an experiment's images the first half of the wells is the
// bank. The result depends on the set of `sites`, not on their order. Error(data): an experiment
// of one image, which has no statistics.
ImageChoice choose_images(const Dataset& dataset, std::span<const int> sites, int per_experiment,
                          int in_all, uint64_t seed);

}  // namespace mono
