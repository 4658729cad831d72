// gemm_add for one instruction set: tiles of rows x vectors held in registers. A is read by
// broadcast, so it needs no transpose; a panel of B (128 rows) stays in the first-level cache.
#include "kernels/base/simd_vector.h"

namespace mono::MONO_ISA {
namespace {

constexpr int kInnerBlock = 128;
constexpr int kAhead =
    24;  // rows of B: a new panel comes from the second-level cache, or the third
#if MONO_ISA_avx512
constexpr int kRows = 8, kVectors = 3;  // 24 of 32 registers accumulate
#elif MONO_ISA_avx2
constexpr int kRows = 6, kVectors = 2;  // 12 of 16
#else
constexpr int kRows = 4, kVectors = 2;  // 8 of 16
#endif

template <class M, int rows, int vectors>
void tile(int inner, const M* a, int64_t row_step, int64_t inner_step, const M* b, int64_t ldb,
          M* c, int64_t ldc, bool add) {
  using V = typename VecOf<M>::type;
  constexpr int kLanes = VecOf<M>::kLanes;
  V sum[rows][vectors];
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) sum[i][v] = broadcast(M(0));
  for (int l = 0; l < inner; ++l) {
    V bv[vectors];
    for (int v = 0; v < vectors; ++v) {
      bv[v] = vload(b + l * ldb + v * kLanes);
      __builtin_prefetch(b + (l + kAhead) * ldb + v * kLanes);
    }
#pragma GCC unroll 8
    for (int i = 0; i < rows; ++i) {
      const V av = broadcast(a[i * row_step + l * inner_step]);
#pragma GCC unroll 4
      for (int v = 0; v < vectors; ++v) sum[i][v] = fma(av, bv[v], sum[i][v]);
    }
  }
  for (int i = 0; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) {
      M* out = c + i * ldc + v * kLanes;
      vstore(out, add ? vload(out) + sum[i][v] : sum[i][v]);
    }
}

// The rows left over below a full tile.
template <class M, int rows, int vectors>
void last_rows(int m, int inner, const M* a, int64_t row_step, int64_t inner_step, const M* b,
               int64_t ldb, M* c, int64_t ldc, bool add) {
  if constexpr (rows > 0) {
    if (m == rows)
      tile<M, rows, vectors>(inner, a, row_step, inner_step, b, ldb, c, ldc, add);
    else
      last_rows<M, rows - 1, vectors>(m, inner, a, row_step, inner_step, b, ldb, c, ldc, add);
  }
}

template <class M, int vectors>
void panel(int m, int inner, const M* a, int64_t row_step, int64_t inner_step, const M* b,
           int64_t ldb, M* c, int64_t ldc, bool add) {
  for (; m >= kRows; m -= kRows, a += kRows * row_step, c += kRows * ldc)
    tile<M, kRows, vectors>(inner, a, row_step, inner_step, b, ldb, c, ldc, add);
  last_rows<M, kRows - 1, vectors>(m, inner, a, row_step, inner_step, b, ldb, c, ldc, add);
}

}  // namespace

template <class M>
void gemm_add(int m, int n, int inner, const M* a, int64_t row_step, int64_t inner_step, const M* b,
              int64_t ldb, M* c, int64_t ldc, bool overwrite) {
  constexpr int kLanes = VecOf<M>::kLanes;
  for (int l = 0; l < inner; l += kInnerBlock) {
    const int block = inner - l < kInnerBlock ? inner - l : kInnerBlock;
    const M* al = a + l * inner_step;
    const M* bl = b + l * ldb;
    const bool add = l > 0 || !overwrite;
    int j = 0;
    for (; j + kVectors * kLanes <= n; j += kVectors * kLanes)
      panel<M, kVectors>(m, block, al, row_step, inner_step, bl + j, ldb, c + j, ldc, add);
    if (kVectors > 2 && j + 2 * kLanes <= n) {
      panel<M, 2>(m, block, al, row_step, inner_step, bl + j, ldb, c + j, ldc, add);
      j += 2 * kLanes;
    }
    if (j < n) panel<M, 1>(m, block, al, row_step, inner_step, bl + j, ldb, c + j, ldc, add);
  }
}

template void gemm_add(int, int, int, const float*, int64_t, int64_t, const float*, int64_t, float*,
                       int64_t, bool);
template void gemm_add(int, int, int, const double*, int64_t, int64_t, const double*, int64_t,
                       double*, int64_t, bool);

}  // namespace mono::MONO_ISA
