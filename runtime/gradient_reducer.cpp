#include "runtime/gradient_reducer.h"

#include <algorithm>
#include <bit>

namespace mono {

GradientReducer::GradientReducer(ParameterArena& arena, Communicator& ranks, int leaves,
                                 int64_t bucket_bytes)
    : arena_(arena),
      ranks_(ranks),
      leaves_(leaves),
      tree_(arena),
      bucket_of_(arena.parameters().size()) {
  MONO_CHECK(leaves >= 1 && (ranks.size() == 1 || std::has_single_bit(unsigned(leaves))),
             "{} leaves on each of {} ranks", leaves, ranks.size());
  const int64_t least =
      std::max<int64_t>(1, bucket_bytes / static_cast<int64_t>(size_of(arena.master())));
  const auto& parameters = arena.parameters();
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p) {
    const auto next = std::next(p);
    const int64_t end = next == parameters.rend() ? arena.size() : next->offset;
    if (buckets_.empty() || buckets_.back().elements >= least)
      buckets_.push_back({.offset = p->offset});
    Bucket& bucket = buckets_.back();
    bucket.elements = end - bucket.offset;
    ++bucket.parameters;
    bucket_of_[static_cast<size_t>(p->index)] = static_cast<int>(buckets_.size()) - 1;
  }
}

void GradientReducer::backward(Tape& tape) {
  MONO_CHECK(filled_ < leaves_, "a step of more than {} groups", leaves_);
  const bool is_last = filled_ + 1 == leaves_;
  const Tensor leaf = tree_.next_leaf();
  if (is_last) {
    last_ = leaf;
    sent_ = 0;
    for (Bucket& bucket : buckets_) bucket.open = bucket.parameters;
  }
  arena_.begin_gradients(leaf);
  tape.backward(is_last ? this : nullptr);
  arena_.finish_gradients();
  ++filled_;
  if (!is_last) return tree_.add(leaf);
  while (sent_ < buckets_.size()) send_next();  // with parameters that nothing wrote
}

void GradientReducer::done(const Parameter& parameter) {
  Bucket& bucket = buckets_[static_cast<size_t>(bucket_of_[static_cast<size_t>(parameter.index)])];
  MONO_CHECK(bucket.open > 0, "'{}' is final twice", parameter.name);
  --bucket.open;
  while (sent_ < buckets_.size() && buckets_[sent_].open == 0) send_next();
}

void GradientReducer::send_next() {
  const Bucket& bucket = buckets_[sent_++];
  ranks_.start_sum(tree_.sum_of_piece(last_, bucket.offset, bucket.elements));
}

Tensor GradientReducer::sum() {
  MONO_CHECK(filled_ == leaves_, "{} of {} groups", filled_, leaves_);
  ranks_.finish_sums();
  filled_ = 0;
  return tree_.sum_in_pieces(std::exchange(last_, Tensor()));
}

void GradientReducer::clear() {
  MONO_CHECK(filled_ < leaves_, "a step that is on its way to the other ranks");
  filled_ = 0;
  tree_.clear();
}

}  // namespace mono
