#include "kernels/base/simd.h"
#include "kernels/sgd/sgd_loops.h"

namespace mono::MONO_ISA {

template <class M>
void sgd_unit(const SgdProblem& problem, int64_t n, M* w, M* m, const M* g) {
  const M lr = problem.lr, momentum = problem.momentum, decay = problem.weight_decay;
  const M grad_scale = problem.grad_scale;
  const M direct = problem.nesterov ? 1 : 0;  // update = direct * gradient + follow * m
  const M follow = problem.nesterov ? problem.momentum : 1;
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) {
    const M gradient = madd(decay, w[i], grad_scale * g[i]);
    const M moment = madd(momentum, m[i], gradient);
    m[i] = moment;
    w[i] = madd(-lr, madd(follow, moment, direct * gradient), w[i]);
  }
}

template void sgd_unit<float>(const SgdProblem&, int64_t, float*, float*, const float*);
template void sgd_unit<double>(const SgdProblem&, int64_t, double*, double*, const double*);

}  // namespace mono::MONO_ISA
