// SGD on the CPU: units of 16k parameters in parallel.
#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/sgd/sgd.h"
#include "kernels/sgd/sgd_loops.h"

namespace mono {

template <class M>
void sgd_step(const SgdProblem& problem, M* w, M* m, const M* g) {
  constexpr int64_t kUnit = 16384;
  parallel_for((problem.n + kUnit - 1) / kUnit, [&](int64_t unit, int) {
    const int64_t i = unit * kUnit;
    MONO_SIMD(sgd_unit<M>(problem, std::min(kUnit, problem.n - i), w + i, m + i, g + i));
  });
}

template void sgd_step(const SgdProblem&, float*, float*, const float*);
template void sgd_step(const SgdProblem&, double*, double*, const double*);

}  // namespace mono
