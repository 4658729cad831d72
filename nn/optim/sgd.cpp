#include "nn/optim/sgd.h"

#include <algorithm>

#include "kernels/sgd/sgd.h"

namespace mono {

Sgd::Sgd(ParameterArena& arena, const SgdOptions& options)
    : arena_(arena), options_(options), momentum_(arena.new_array()) {
  // The arena runs backwards through the parameters; neighbours of equal decay are one segment.
  for (auto p = arena.parameters().rbegin(); p != arena.parameters().rend(); ++p) {
    const bool spared = p->is_norm_or_bias && !options.decay_norm_and_bias;
    const double decay = spared ? 0.0 : options.weight_decay;
    if (!segments_.empty() && segments_.back().weight_decay == decay) continue;
    if (!segments_.empty()) segments_.back().end = p->offset;
    segments_.push_back({p->offset, arena.size(), decay});
  }
}

void Sgd::step(const Tensor& gradients, double lr, double grad_scale) {
  dispatch_master(arena_.master(), [&]<class M>() {
    for (const Segment& segment : segments_) {
      const SgdProblem problem{segment.end - segment.begin, lr,
                               options_.momentum,           segment.weight_decay,
                               options_.nesterov,           grad_scale};
      sgd_step<M>(problem, arena_.weights().data<M>() + segment.begin,
                  momentum_.data<M>() + segment.begin, gradients.data<M>() + segment.begin);
    }
  });
  arena_.weights_changed();
}

}  // namespace mono
