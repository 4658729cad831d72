// Grit: how far replicates of a treatment resemble each other beyond what controls resemble them.
//
// For a profile p: s(p, c) over the controls c gives mean and (population) standard deviation; its
// grit is the mean (or median) over the other profiles q of its group of
//   (s(p, q) - mean) / std,      s: Pearson's correlation of the two feature vectors
// Then the mean over the profiles of a group, and over groups. Grit grows without bound where the
// similarities to controls hardly vary: control_std stands beside it.
// Source: cytominer-eval, utils/grit_utils.py. Arithmetic in f64.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "nn/functional/nearest.h"

namespace mono {

struct GritOptions {
  bool median = false;  // over the replicates of a profile
};

struct Grit {
  double mean = 0;         // over groups with a defined grit; NaN: there is none
  double control_std = 0;  // mean over profiles of the std above
  double least_control_std = 0;
  int profiles = 0;           // with a defined grit
  int without_replicate = 0;  // profiles alone in their group: undefined, left out
  int constant_controls =
      0;  // profiles whose control similarities do not vary: undefined, left out
  int controls = 0, groups = 0;    // groups with a defined grit
  std::vector<double> of_profile;  // (rows); NaN: undefined, or a control
  std::vector<double> of_group;    // [group]; NaN: undefined
};

// groups (rows): treatment from 0 on, -1: the row takes no part. is_control (rows): 1 marks the
// reference; such rows have no grit of their own. ids (rows): the profile a row belongs to, rows of
// one id are not each other's replicates (sites of a well); empty: each row its own. Errors: data
// for fewer than two controls, values that are not finite, or a constant row (no correlation).
Grit grit(FeatureView profiles, std::span<const int> groups, std::span<const uint8_t> is_control,
          std::span<const int> ids = {}, const GritOptions& options = {});

}  // namespace mono
