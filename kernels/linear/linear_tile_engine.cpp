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
  for (int r = 0; r < rows; ++r) std::fill_n(c + r * ldc, kPanel, E(0));
  gemm_add<E>(rows, kPanel, inner, a, lda, 1, panel, kPanel, c, ldc);
}

template <class T>
void TileEngine<T>::pack_gradient(const GradientRows<T>& rows, int, int row, E* g) {
  MONO_SIMD(tile_pack_gradient<T>(rows, g ? g + int64_t{row} * rows.out : nullptr));
}

template <class T>
void TileEngine<T>::pack_z(int rows, int columns, const T* z, int64_t ldz, int row, E* panel) {
  MONO_SIMD(tile_pack_z<T>(rows, columns, z, ldz, panel + int64_t{row} * kPanel));
}

template <class T>
void TileEngine<T>::multiply_outer(int chunk, int out, int first, int outs, int columns, const E* g,
                                   const E* panel, E* dw, int64_t lddw, bool accumulate) {
  E c[kLinearRows * kPanel];
  for (int o = 0; o < outs; o += kLinearRows) {
    const int filters = std::min(kLinearRows, outs - o);
    std::fill_n(c, filters * kPanel, E(0));
    gemm_add<E>(filters, kPanel, chunk, g + first + o, 1, out, panel, kPanel, c, kPanel);
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
