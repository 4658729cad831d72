// SGD with momentum over the arena, as torch.optim.SGD (RxRx1, section 4.1: momentum 0.9).
#pragma once

#include "kernels/sgd/sgd.h"
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
  // The two halves of it: the rates go to device memory, so that a captured step() finds those of
  // each replay there.
  void set_rates(double lr, double grad_scale);
  void step(const Tensor& gradients);

  // The momentum array; checkpoints hold it by parameter.
  const Tensor& momentum() const { return momentum_; }

 private:
  ParameterArena& arena_;
  SgdOptions options_;
  Tensor momentum_;
  std::vector<SgdRun> runs_;
  Tensor runs_on_gpu_;  // the same; undefined on the CPU
  Tensor rates_;        // one SgdRates, on the device
};

}  // namespace mono
