// What training does with ranks: which groups each computes, and that all of them are of one mind.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <vector>

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

// Calls run(group, batch) for the groups of this rank with what `loader` reads for each; groups
// count from 0 here. False where `abandon` said so between two of them; of several ranks none asks.
template <class Loader, class Run>
bool run_groups(Communicator& ranks, const GroupShare& share, const std::function<bool()>& abandon,
                Loader& loader, Run run) {
  for (int group = 0; group < share.count; ++group) {
    if (ranks.size() == 1 && abandon && abandon()) return false;
    ranks.moving("reading images");
    const auto batch = loader.next();
    ranks.moving("computing");
    run(group, batch);
  }
  return true;
}

// Figures of all groups of a step, added in their order, and the first group that has one that is
// not finite (-1: none). `own`: (share.count, figures), this rank's. All ranks call.
struct GroupSums {
  std::vector<double> sums;
  int not_finite = -1;
};
GroupSums add_groups(Communicator& ranks, const GroupShare& share, std::span<const double> own);

// Something that must be the same on every rank ("recipe", its hash). Error(usage) on every rank
// names those that differ from rank 0.
void check_same(Communicator& ranks, const std::string& what, const std::string& value);

// For the message of a step that diverged: ", group 5 (rank 2)" where there are several (group -1:
// none is known), and " (the weights of rank 2 are not finite)", which a sum of gradients no longer
// tells. All ranks call.
std::string where_it_diverged(Communicator& ranks, const GroupShare& share, int group,
                              const ParameterArena& arena);

// Error(usage) on every rank that names those that do not see rank 0's images: the sites of all
// parts with their labels; what they are normalised with; the pixels of some of them, spread over
// all, since names alone would not tell one copy of a screen from another.
void check_same_images(Communicator& ranks, const RunSetup& setup);

// Hashes everything that carries over from step to step, and compares the ranks. Error(device) on
// every rank where they differ: names tensor and ranks.
void check_same_state(Communicator& ranks, const TrainingState& state, int64_t step);

}  // namespace mono
