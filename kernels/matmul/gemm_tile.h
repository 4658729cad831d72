// The inner loop of the reference convolution and matrix product: C += A B on packed operands.
#pragma once

#include <cstdint>

namespace mono {

constexpr int kGemmLanes = 16;  // n, ldb and ldc are multiples of it
constexpr int gemm_padded(int n) {
  return (n + kGemmLanes - 1) / kGemmLanes * kGemmLanes;
}

// C[i*ldc + j] += sum_l (with `overwrite`: =) A[i*row_step + l*inner_step] * B[l*ldb + j]  for i <
// m, j < n, l < inner.
//
// M is float or double. Register-tiled; the sum over l runs in blocks of 128, each accumulated on
// its own and then added to C, so that rounding errors grow with the number of blocks, not of
// terms. One thread.
template <class M>
void gemm_add(int m, int n, int inner, const M* a, int64_t row_step, int64_t inner_step, const M* b,
              int64_t ldb, M* c, int64_t ldc, bool overwrite = false);

}  // namespace mono
