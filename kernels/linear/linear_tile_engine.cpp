// TileEngine: float or double on gemm_add, the register tile of the reference kernels, which every
// instruction-set level has; bf16 on operands rounded to it, where nothing multiplies bf16 quicker.
#include <algorithm>

#include "kernels/linear/linear_loops.h"
#include "kernels/matmul/gemm_tile.h"

namespace mono {

template <class T>
void TileEngine<T>::pack_transposed(const E* w, int out, int in, int n, E* panel) {
  MONO_SIMD(tile_pack_transposed<T>(w, out, in, n, panel));
}

template <class T>
void TileEngine<T>::pack(const E* w, int out, int in, int n, E* panel) {
  MONO_SIMD(tile_pack<T>(w, out, in, n, panel));
}

template <class T>
void TileEngine<T>::multiply(int rows, const E* a, int64_t lda, int inner, const E* panel, E* c,
                             int64_t ldc) {
  gemm_add<E>(rows, kPanel, inner, a, lda, 1, panel, kPanel, c, ldc, true);
}

template <class T>
void TileEngine<T>::pack_gradient(const GradientRows<T>& rows, int chunk, int row, E* g) {
  MONO_SIMD(tile_pack_gradient<T>(rows, chunk, g + int64_t{row} * kFilters));
}

template <class T>
void TileEngine<T>::pack_z(int rows, int columns, const T* z, int64_t ldz, int row, E* panel) {
  MONO_SIMD(tile_pack_z<T>(rows, columns, z, ldz, panel + int64_t{row} * kPanel));
}

// Blocks of rows, 24 KB of the panel each, stay in the first-level cache while filters pass.
template <class T>
void TileEngine<T>::multiply_outer(int chunk, int first, int outs, int columns, const E* g,
                                   const E* panel, E* dw, int64_t lddw, bool accumulate) {
  constexpr int kTile = 4 * kFilters, kBlock = 128;
  alignas(64) E c[kTile * kPanel];
  for (int o = 0; o < outs; o += kTile) {
    const int filters = std::min(kTile, outs - o);
    std::fill_n(c, round_up(filters, kFilters) * kPanel, E(0));
    for (int k = 0; k < chunk; k += kBlock)
      for (int f = 0; f < filters; f += kFilters)
        gemm_add<E>(kFilters, kPanel, std::min(kBlock, chunk - k),
                    g + int64_t{first + o + f} * chunk + int64_t{k} * kFilters, 1, kFilters,
                    panel + int64_t{k} * kPanel, kPanel, c + f * kPanel, kPanel);
    for (int i = 0; i < filters; ++i)
      for (int j = 0; j < columns; ++j) {
        E& to = dw[(o + i) * lddw + j];
        to = accumulate ? to + c[i * kPanel + j] : c[i * kPanel + j];
      }
  }
}

template struct TileEngine<float>;
template struct TileEngine<bf16>;
template struct TileEngine<double>;

}  // namespace mono
