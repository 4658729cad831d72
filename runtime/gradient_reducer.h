// The gradient of a step, from groups on any number of ranks, sent while backward still runs.
//
// A rank's groups are leaves of the tree over all groups (gradient_tree.h). While the last of them
// runs backward, parameters become final in the order of the arena; as soon as all of a bucket's
// are, its part of the tree is added up and goes to the other ranks (Communicator::start_sum).
// Buckets go out in the arena's order, so in the same order on every rank.
#pragma once

#include <vector>

#include "runtime/communicator.h"
#include "runtime/gradient_tree.h"
#include "runtime/tape.h"

namespace mono {

struct SumOptions {
  int64_t bucket_bytes = int64_t{25} << 20;  // a bucket ends with the parameter that fills it
  // Sends gradients rounded to bf16, half the bytes; what comes back is a bf16 value, too. Each
  // addition on the way rounds, so that the result depends on the number of ranks.
  bool as_bf16 = false;
};

class GradientReducer final : private GradSink {
 public:
  // `leaves` of this rank in a step, a power of two where there are several ranks. Arguments must
  // outlive this.
  GradientReducer(ParameterArena& arena, Communicator& ranks, int leaves,
                  const SumOptions& options = {});

  // Runs the tape of this rank's next group into its leaf.
  void backward(Tape& tape);
  // The sum over all groups of all ranks, once all leaves of this one are there. The tensor is
  // valid until the next call of backward().
  Tensor sum();
  // Forgets the step's leaves (not after the last one: it is on its way to the other ranks).
  void clear();

  int buckets() const { return static_cast<int>(buckets_.size()); }

 private:
  struct Bucket {
    int64_t offset = 0, elements = 0;  // of the arena, padding included
    int parameters = 0;
    int open = 0;  // parameters that are not final yet
  };
  void done(const Parameter& parameter) override;
  void send_next();

  ParameterArena& arena_;
  Communicator& ranks_;
  const int leaves_;
  const bool as_bf16_;
  GradientTree tree_;
  std::vector<Bucket> buckets_;  // in the arena's order
  std::vector<int> bucket_of_;   // by Parameter::index
  Tensor last_;                  // the last leaf, while it runs
  int filled_ = 0;               // leaves of this step
  size_t sent_ = 0;              // buckets
  struct Rounded {
    Tensor piece, sent;  // of the arena; what the communicator has
  };
  std::vector<Rounded> rounded_;  // as_bf16: on their way
};

}  // namespace mono
