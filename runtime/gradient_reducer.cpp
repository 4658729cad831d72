#include "runtime/gradient_reducer.h"

#include <algorithm>
#include <bit>

#include "kernels/elementwise/elementwise.h"

namespace mono {
namespace {

// One of the two is bf16, the other one a master.
void convert_to(const Tensor& from, const Tensor& to) {
  const Stream stream = to.stream();
  if (to.dtype() == DType::bf16)
    dispatch_master(from.dtype(), [&]<class M>() {
      convert(stream, to.elements(), from.data<M>(), to.data<bf16>());
    });
  else
    dispatch_master(to.dtype(), [&]<class M>() {
      convert(stream, to.elements(), from.data<bf16>(), to.data<M>());
    });
}

}  // namespace

GradientReducer::GradientReducer(ParameterArena& arena, Communicator& ranks, int leaves,
                                 const SumOptions& options)
    : arena_(arena),
      ranks_(ranks),
      leaves_(leaves),
      as_bf16_(options.as_bf16),
      tree_(arena),
      bucket_of_(arena.parameters().size()) {
  MONO_CHECK(leaves >= 1 && (ranks.size() == 1 || std::has_single_bit(unsigned(leaves))),
             "{} leaves on each of {} ranks", leaves, ranks.size());
  const int64_t least =
      std::max<int64_t>(1, options.bucket_bytes / static_cast<int64_t>(size_of(arena.master())));
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
  const Tensor piece = tree_.sum_of_piece(last_, bucket.offset, bucket.elements);
  if (!as_bf16_) return ranks_.start_sum(piece);
  const Tensor sent = Tensor::empty(piece.shape(), DType::bf16, piece.device());
  convert_to(piece, sent);
  rounded_.push_back({piece, sent});
  ranks_.start_sum(sent);
}

Tensor GradientReducer::sum() {
  MONO_CHECK(filled_ == leaves_, "{} of {} groups", filled_, leaves_);
  ranks_.finish_sums();
  for (const auto& [piece, sent] : rounded_) convert_to(sent, piece);
  rounded_.clear();
  filled_ = 0;
  return tree_.sum_in_pieces(std::exchange(last_, Tensor()));
}

void GradientReducer::clear() {
  MONO_CHECK(filled_ < leaves_, "a step that is on its way to the other ranks");
  filled_ = 0;
  tree_.clear();
}

}  // namespace mono
