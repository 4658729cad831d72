// SGD with momentum over a flat parameter range, as torch.optim.SGD:
//   g += weight_decay * w;  m = momentum * m + g (first step: m = g);  w -= lr * (nesterov ? g +
//   momentum*m : m)
//
// One launch over the arena. Traffic: w, m read and written, g read: 20 bytes a parameter.
#pragma once

#include <cstdint>

#include "kernels/base/device.h"

namespace mono {

struct SgdProblem {
  int64_t n;
  double lr, momentum, weight_decay;
  bool nesterov = false;
  double grad_scale = 1.0;  // multiplies g first
};

template <class M>
void sgd_step(const SgdProblem& problem, M* w, M* m, const M* g);

// The whole arena in one launch, with what a captured step may not hold as constants in memory.
struct SgdRun {  // elements [begin, end) with one weight decay
  int64_t begin, end;
  double weight_decay;
};
// Runs in ascending order that cover [0, n) without a gap. Non-owning.
struct SgdRuns {
  int count = 0;
  const SgdRun* runs = nullptr;
  const SgdRun* gpu_runs = nullptr;  // the same table in the GPU's memory, for a GPU stream
};
struct SgdRates {  // of this step
  double lr, grad_scale;
};
// `problem` gives n, momentum and nesterov; decay comes from the runs, lr and grad_scale from
// *rates, which lies on the stream's device. A CPU stream: sgd_step run by run.
template <class M>
void sgd_step(Stream stream, const SgdProblem& problem, SgdRuns runs, const SgdRates* rates, M* w,
              M* m, const M* g);

}  // namespace mono
