#include "kernels/base/simd.h"
#include "kernels/ema/ema_loops.h"

namespace mono::MONO_ISA {

template <class M>
void ema_unit(int64_t n, double beta, M* teacher, const M* student) {
  const M keep = beta, take = 1 - beta;
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) teacher[i] = madd(take, student[i], keep * teacher[i]);
}

template void ema_unit<float>(int64_t, double, float*, const float*);
template void ema_unit<double>(int64_t, double, double*, const double*);

}  // namespace mono::MONO_ISA
