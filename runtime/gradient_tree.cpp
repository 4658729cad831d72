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

void GradientTree::clear() {
  for (const Partial& partial : partials_) free_.push_back(partial.array);
  partials_.clear();
}

void GradientTree::merge_last_two() {
  const Partial right = partials_.back();
  partials_.pop_back();
  Partial& left = partials_.back();
  dispatch_master(arena_.master(), [&]<class M>() {
    mono::add<M>(left.array.stream(), left.array.elements(), left.array.data<M>(),
                 right.array.data<M>(), left.array.data<M>());
  });
  left.level = std::max(left.level, right.level) + 1;
  free_.push_back(right.array);
}

}  // namespace mono
