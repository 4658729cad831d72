#include "runtime/gradient_tree.h"

#include <algorithm>

#include "kernels/elementwise/elementwise.h"

namespace mono {

Tensor GradientTree::next_leaf() {
  if (free_.empty()) return arena_.new_array();
  Tensor array = free_.back();
  free_.pop_back();
  return array;
}

void GradientTree::add(const Tensor& leaf) {
  partials_.push_back({leaf, 0});
  while (partials_.size() >= 2 && partials_.back().level == partials_[partials_.size() - 2].level)
    merge_last_two();
}

Tensor GradientTree::sum() {
  MONO_CHECK(!partials_.empty(), "the sum of no gradients");
  while (partials_.size() >= 2) merge_last_two();
  const Tensor total = partials_.back().array;
  partials_.clear();
  free_.push_back(total);
  return total;
}

// Adding a last leaf and closing the tree merges the last two partial sums until one is left,
// whatever their levels.
Tensor GradientTree::sum_of_piece(const Tensor& last_leaf, int64_t offset, int64_t elements) {
  const auto piece = [&](const Tensor& array) {
    return array.range(offset, {static_cast<int>(elements)});
  };
  Tensor right = piece(last_leaf);
  for (auto left = partials_.rbegin(); left != partials_.rend(); ++left) {
    const Tensor sum = piece(left->array);
    add_to(sum, right);
    right = sum;
  }
  return right;
}

Tensor GradientTree::sum_in_pieces(const Tensor& last_leaf) {
  const Tensor total = partials_.empty() ? last_leaf : partials_.front().array;
  if (!partials_.empty()) free_.push_back(last_leaf);
  for (size_t i = 1; i < partials_.size(); ++i) free_.push_back(partials_[i].array);
  partials_.clear();
  free_.push_back(total);
  return total;
}

void GradientTree::clear() {
  for (const Partial& partial : partials_) free_.push_back(partial.array);
  partials_.clear();
}

void GradientTree::merge_last_two() {
  const Partial right = partials_.back();
  partials_.pop_back();
  Partial& left = partials_.back();
  add_to(left.array, right.array);
  left.level = std::max(left.level, right.level) + 1;
  free_.push_back(right.array);
}

void GradientTree::add_to(const Tensor& left, const Tensor& right) const {
  dispatch_master(arena_.master(), [&]<class M>() {
    mono::add<M>(left.stream(), left.elements(), left.data<M>(), right.data<M>(), left.data<M>());
  });
}

}  // namespace mono
