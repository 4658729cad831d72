// The moving average on the CPU: units of 16k parameters in parallel.
#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/ema/ema_cpu.h"
#include "kernels/ema/ema_loops.h"

namespace mono {

template <class M>
void ema_update_cpu(int64_t n, double beta, M* teacher, const M* student) {
  constexpr int64_t kUnit = 16384;
  parallel_for((n + kUnit - 1) / kUnit, [&](int64_t unit, int) {
    const int64_t i = unit * kUnit;
    MONO_SIMD(ema_unit<M>(std::min(kUnit, n - i), beta, teacher + i, student + i));
  });
}

template void ema_update_cpu(int64_t, double, float*, const float*);
template void ema_update_cpu(int64_t, double, double*, const double*);

}  // namespace mono
