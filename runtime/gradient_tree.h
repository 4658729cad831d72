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
  // The same, by pieces, while the last leaf (which is not added) still fills: adds elements
  // [offset, offset + elements) up, in the tree's order, and returns them. When every element has
  // been, sum_in_pieces ends the step as sum() does.
  Tensor sum_of_piece(const Tensor& last_leaf, int64_t offset, int64_t elements);
  Tensor sum_in_pieces(const Tensor& last_leaf);
  // Forgets the leaves so far.
  void clear();

 private:
  struct Partial {
    Tensor array;
    int level;
  };
  void merge_last_two();
  void add_to(const Tensor& left, const Tensor& right) const;  // left += right

  const ParameterArena& arena_;
  std::vector<Partial> partials_;
  std::vector<Tensor> free_;
};

}  // namespace mono
