#include "kernels/matmul/gemm_tile.h"

#include "kernels/base/simd_dispatch.h"

namespace mono {

MONO_DECLARE_SIMD(template <class M> void gemm_add(int, int, int, const M*, int64_t, int64_t,
                                                   const M*, int64_t, M*, int64_t, bool))

template <class M>
void gemm_add(int m, int n, int inner, const M* a, int64_t row_step, int64_t inner_step, const M* b,
              int64_t ldb, M* c, int64_t ldc, bool overwrite) {
  MONO_SIMD(gemm_add(m, n, inner, a, row_step, inner_step, b, ldb, c, ldc, overwrite));
}
template void gemm_add(int, int, int, const float*, int64_t, int64_t, const float*, int64_t, float*,
                       int64_t, bool);
template void gemm_add(int, int, int, const double*, int64_t, int64_t, const double*, int64_t,
                       double*, int64_t, bool);

}  // namespace mono
