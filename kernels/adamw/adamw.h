// AdamW and Adam over a flat arena of parameters, as torch.optim.AdamW and torch.optim.Adam:
//
//   g' = factor * g (+ l2 * w: Adam's decay, which goes through the moments)
//   m  = m + (1 - beta1) (g' - m)
//   v  = beta2 * v + (1 - beta2) g'^2
//   w  = shrink * w - step * m / (root * sqrt(v) + eps)
//
// with shrink = 1 - lr * decay (AdamW's decay, beside the moments), step = lr / (1 - beta1^t) and
// root = 1 / sqrt(1 - beta2^t). The parameters fall into runs, each run belongs to a group, and a
// group has its own decay and its own number of steps t, because what is frozen does not count.
//
// One launch over the arena. Traffic: w, m, v read and written, g read: 28 bytes a parameter in
// f32. What changes from step to step lies in memory of the stream's device. Source: Kingma and Ba
// 2015; Loshchilov and Hutter 2019 (decoupled decay); Pascanu et al. 2013 (clipping).
#pragma once

#include <cstdint>

#include "kernels/base/device.h"

namespace mono {

struct AdamWProblem {
  int64_t n;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
};

// A group of parameters in this step.
struct AdamWRates {
  double shrink, l2, step, root;
  int64_t active;  // 0: nothing of the group changes, its moments neither
};
// The rates of a group's t-th step (1, 2, ...).
AdamWRates adamw_rates(const AdamWProblem& problem, double lr, double weight_decay, bool decoupled,
                       int64_t t);

struct AdamWRun {  // elements [begin, end) of one group
  int64_t begin, end;
  int group;
};
// Runs in ascending order that cover [0, n) without a gap. Non-owning.
struct AdamWRuns {
  int count = 0;
  const AdamWRun* runs = nullptr;
  const AdamWRun* gpu_runs = nullptr;  // the same table in the GPU's memory, for a GPU stream
};

// rates[group] and *factor lie on the stream's device, as w, m, v and g do.
template <class M>
void adamw_step(Stream stream, const AdamWProblem& problem, AdamWRuns runs, const AdamWRates* rates,
                const double* factor, M* w, M* m, M* v, const M* g);

// What gradients are multiplied with so that their Euclidean norm is at most max_norm, as
// torch.nn.utils.clip_grad_norm_: with norm = *scale * sqrt(*squares),
//   result->factor = *scale * min(1, max_norm / (norm + 1e-6)).
// A norm that is not finite makes a factor that is not. Pointers on the stream's device.
struct ClippedNorm {
  double norm, factor;
};
void clip_factor(Stream stream, double max_norm, const double* scale, const double* squares,
                 ClippedNorm* result);

}  // namespace mono
