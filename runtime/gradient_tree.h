// Gradients of groups, added as a balanced binary tree over the group index.
//
// Group g's gradient is a leaf; ((0+1)+(2+3))+((4+5)+(6+7)) whatever computes it: one process that
// runs the groups in sequence, or 2, 4 or 8 ranks that hold contiguous subtrees. A binary counter
// of partial sums needs log2(groups) + 1 arrays at most, and one for one group.
#pragma once

#include <vector>

#include "runtime/parameter_arena.h"

namespace mono {

class GradientTree {
 public:
  explicit GradientTree(const ParameterArena& arena) : arena_(arena) {}

  // A cleared-or-recycled array for the next group's backward pass.
  Tensor next_leaf();
  // Adds a filled leaf.
  void add(const Tensor& leaf);
  // The sum of all leaves so far; the tree is empty after it. The tensor is valid until the next
  // call of next_leaf.
  Tensor sum();
  // Forgets the leaves so far.
  void clear();

 private:
  struct Partial {
    Tensor array;
    int level;
  };
  void merge_last_two();

  const ParameterArena& arena_;
  std::vector<Partial> partials_;
  std::vector<Tensor> free_;
};

}  // namespace mono
