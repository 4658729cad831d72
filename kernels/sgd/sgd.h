// SGD with momentum over a flat parameter range, as torch.optim.SGD:
//   g += weight_decay * w;  m = momentum * m + g (first step: m = g);  w -= lr * (nesterov ? g +
//   momentum*m : m)
//
// One launch over the arena. Traffic: w, m read and written, g read: 20 bytes a parameter.
#pragma once

#include <cstdint>

namespace mono {

struct SgdProblem {
  int64_t n;
  double lr, momentum, weight_decay;
  bool nesterov = false;
  double grad_scale = 1.0;  // multiplies g first
};

template <class M>
void sgd_step(const SgdProblem& problem, M* w, M* m, const M* g);

}  // namespace mono
