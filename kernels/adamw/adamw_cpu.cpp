// AdamW on the CPU: units of 16k parameters in parallel, cut where a run ends.
#include "kernels/adamw/adamw_cpu.h"

#include <algorithm>
#include <cmath>

#include "kernels/adamw/adamw_loops.h"
#include "kernels/base/thread_pool.h"

namespace mono {

AdamWRates adamw_rates(const AdamWProblem& problem, double lr, double weight_decay, bool decoupled,
                       int64_t t) {
  const double steps = static_cast<double>(t);
  return {decoupled ? 1 - lr * weight_decay : 1, decoupled ? 0 : weight_decay,
          lr / (1 - std::pow(problem.beta1, steps)),
          1 / std::sqrt(1 - std::pow(problem.beta2, steps)), 1};
}

template <class M>
void adamw_step_cpu(const AdamWProblem& problem, AdamWRuns runs, const AdamWRates* rates,
                    double factor, M* w, M* m, M* v, const M* g) {
  constexpr int64_t kUnit = 16384;
  parallel_for((problem.n + kUnit - 1) / kUnit, [&](int64_t unit, int) {
    int64_t i = unit * kUnit;
    const int64_t end = std::min(i + kUnit, problem.n);
    const AdamWRun* run =
        std::upper_bound(runs.runs, runs.runs + runs.count, i,
                         [](int64_t at, const AdamWRun& r) { return at < r.end; });
    for (; i < end; ++run) {
      const int64_t stop = std::min(end, run->end);
      if (rates[run->group].active)
        MONO_SIMD(adamw_unit<M>(problem, rates[run->group], factor, stop - i, w + i, m + i, v + i,
                                g + i));
      i = stop;
    }
  });
}

template void adamw_step_cpu(const AdamWProblem&, AdamWRuns, const AdamWRates*, double, float*,
                             float*, float*, const float*);
template void adamw_step_cpu(const AdamWProblem&, AdamWRuns, const AdamWRates*, double, double*,
                             double*, double*, const double*);

}  // namespace mono
