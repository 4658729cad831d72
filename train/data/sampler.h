// The plan of training: which images, in which groups, in which steps, and how each is augmented.
//
// Everything is a pure function of the recipe's seed and the epoch (and, for augmentation, of the
// site and the group), so any number of workers, threads or ranks, and any resume point, gets the
// same. One epoch:
//   mixed groups (baseline): shuffle all training sites, cut into groups of group_size.
//   one experiment a group (AdaBN): shuffle inside each experiment, cut, shuffle the groups.
// A step takes batch.groups groups in turn. Sites that fill no group and groups that fill no step
// sit out this epoch; another epoch's shuffle leaves out others.
// Source: RxRx1 sections 4.1, 4.2; kaggle-rcic-1st for CutMix (specs A5, A6).
#pragma once

#include <cstdint>
#include <vector>

#include "train/data/batch.h"

namespace mono {

using Group = std::vector<int>;  // sites

// Groups of an epoch in order; as many as fill whole steps.
std::vector<Group> plan_epoch(const RunSetup& setup, int64_t epoch);

// Steps in an epoch, the same for all. Error(usage) if the training images do not fill one.
int64_t steps_per_epoch(const RunSetup& setup);
// The same from counts alone: training images of each experiment.
int64_t steps_per_epoch(const Recipe::Batch& batch, const std::vector<int64_t>& images);

// Draws flips, crops and mixing for the group `index` of an epoch into raw.values and
// raw.own_share.
void draw_augmentation(const RunSetup& setup, int64_t epoch, int64_t index, RawBatch& raw);

}  // namespace mono
