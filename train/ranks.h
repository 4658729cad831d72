// What training does with ranks: which groups each computes, and that all of them are of one mind.
#pragma once

#include <string>

#include "runtime/communicator.h"
#include "runtime/gradient_reducer.h"
#include "train/setup.h"
#include "train/training_state.h"

namespace mono {

// How a recipe's gradients are sent; one process rounds nothing.
SumOptions sum_options(const Recipe& recipe, const Communicator& ranks);

// The groups of each step that a rank computes: `count` from `first` of `groups`.
struct GroupShare {
  int groups = 1, first = 0, count = 1;
};

// Contiguous equal shares. Error(usage) where the ranks do not divide the groups into equal shares
// of a power of two: their sum would be another tree than one process's, and so other bits.
GroupShare share_of(const Communicator& ranks, int64_t groups);

// Something that must be the same on every rank ("recipe", its hash). Error(usage) on every rank
// names those that differ from rank 0.
void check_same(Communicator& ranks, const std::string& what, const std::string& value);

// " (the weights of rank 2 are not finite)", where those of some ranks are not: what a sum of
// gradients no longer tells. All ranks call.
std::string ranks_with_bad_weights(Communicator& ranks, const ParameterArena& arena);

// A hash of what this rank reads for some training images, spread over all of them, and of what
// they are normalised with: names alone would not tell one copy of a screen from another.
std::string pixels_hash(const RunSetup& setup);

// Hashes everything that carries over from step to step, and compares the ranks. Error(device) on
// every rank where they differ: names tensor and ranks.
void check_same_state(Communicator& ranks, const TrainingState& state, int64_t step);

}  // namespace mono
