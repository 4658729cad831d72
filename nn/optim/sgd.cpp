#include "nn/optim/sgd.h"

#include <array>

#include "runtime/copy.h"

namespace mono {

Sgd::Sgd(ParameterArena& arena, const SgdOptions& options)
    : arena_(arena),
      options_(options),
      momentum_(arena.new_array()),
      rates_(on_device<SgdRates>(std::array{SgdRates{0, 1}}, momentum_.device())) {
  // The arena runs backwards through the parameters; neighbours of equal decay are one run.
  for (auto p = arena.parameters().rbegin(); p != arena.parameters().rend(); ++p) {
    const bool spared = p->is_norm_or_bias && !options.decay_norm_and_bias;
    const double decay = spared ? 0.0 : options.weight_decay;
    if (!runs_.empty() && runs_.back().weight_decay == decay) continue;
    if (!runs_.empty()) runs_.back().end = p->offset;
    runs_.push_back({p->offset, arena.size(), decay});
  }
  if (momentum_.device() != Device::cpu)
    runs_on_gpu_ = on_device<SgdRun>(runs_, momentum_.device());
}

void Sgd::set_rates(double lr, double grad_scale) {
  const SgdRates rates{lr, grad_scale};
  upload(rates_.stream(), rates_.raw(), &rates, sizeof rates);
}

void Sgd::step(const Tensor& gradients) {
  const SgdRuns runs{static_cast<int>(runs_.size()), runs_.data(),
                     runs_on_gpu_.defined() ? values_of<SgdRun>(runs_on_gpu_) : nullptr};
  SgdProblem problem{};
  problem.n = arena_.size();
  problem.momentum = options_.momentum;
  problem.nesterov = options_.nesterov;
  dispatch_master(arena_.master(), [&]<class M>() {
    sgd_step<M>(gradients.stream(), problem, runs, values_of<SgdRates>(rates_),
                arena_.weights().data<M>(), momentum_.data<M>(), gradients.data<M>());
  });
  arena_.weights_changed();
}

void Sgd::step(const Tensor& gradients, double lr, double grad_scale) {
  set_rates(lr, grad_scale);
  step(gradients);
}

}  // namespace mono
