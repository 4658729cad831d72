// SGD with momentum over the arena, as torch.optim.SGD (RxRx1, section 4.1: momentum 0.9).
#pragma once

#include "runtime/parameter_arena.h"

namespace mono {

struct SgdOptions {
  double momentum = 0.9;
  double weight_decay = 0.0;
  bool nesterov = false;
  bool decay_norm_and_bias = true;  // false: weight decay spares batch norms and biases
};

class Sgd {
 public:
  Sgd(ParameterArena& arena, const SgdOptions& options);

  // One step with the gradients of a flat array, multiplied by grad_scale first (1/groups makes
  // the sum over groups their mean).
  void step(const Tensor& gradients, double lr, double grad_scale);

  // The momentum array; checkpoints hold it by parameter.
  const Tensor& momentum() const { return momentum_; }

 private:
  // A run of the arena with one weight decay.
  struct Segment {
    int64_t begin, end;
    double weight_decay;
  };
  ParameterArena& arena_;
  SgdOptions options_;
  Tensor momentum_;
  std::vector<Segment> segments_;
};

}  // namespace mono
