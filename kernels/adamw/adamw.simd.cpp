#include "kernels/adamw/adamw_loops.h"
#include "kernels/base/simd.h"

namespace mono::MONO_ISA {

MONO_INLINE float root_of(float x) {
  return __builtin_sqrtf(x);
}
MONO_INLINE double root_of(double x) {
  return __builtin_sqrt(x);
}

template <class M>
void adamw_unit(const AdamWProblem& problem, const AdamWRates& rates, double factor, int64_t n,
                M* w, M* m, M* v, const M* g) {
  const M new1 = 1 - problem.beta1, new2 = 1 - problem.beta2, beta2 = problem.beta2;
  const M eps = problem.eps, scale = factor;
  const M shrink = rates.shrink, l2 = rates.l2, step = rates.step, root = rates.root;
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) {
    const M gradient = madd(l2, w[i], scale * g[i]);
    const M first = madd(new1, gradient - m[i], m[i]);
    const M second = madd(new2 * gradient, gradient, beta2 * v[i]);
    m[i] = first;
    v[i] = second;
    w[i] = madd(shrink, w[i], -(step * first / madd(root, root_of(second), eps)));
  }
}

template void adamw_unit<float>(const AdamWProblem&, const AdamWRates&, double, int64_t, float*,
                                float*, float*, const float*);
template void adamw_unit<double>(const AdamWProblem&, const AdamWRates&, double, int64_t, double*,
                                 double*, double*, const double*);

}  // namespace mono::MONO_ISA
