// What variant `fused` multiplies with: packed operands and register tiles of one instruction-set
// level. Two engines: TileEngine on gemm_add (any level, float and double), AmxEngine (bf16).
// Not for callers.
//
// An engine multiplies rows of A, which lie as they are (E, reduction along the row, padded to
// kInnerAlign with zeros), by a panel of kPanel columns of B, packed. Of the gradient of w, A is
// g^T and B is z, both packed by runs of kLinearRows rows: `chunk` rows at most are summed at a
// time.
#pragma once

#include <cstdint>
#include <type_traits>

#include "kernels/base/bf16.h"
#include "kernels/base/dtype.h"

namespace mono {

inline constexpr int kLinearRows = 64;     // of a unit of work; a multiple of every kRowAlign
inline constexpr int kLinearChunk = 2048;  // rows of z and g that are packed at a time

constexpr int64_t round_up(int64_t n, int64_t to) {
  return (n + to - 1) / to * to;
}

// A run of at most kLinearRows rows of the gradient: dy (rows, out) at pitch ld, each row times its
// factor (null: 1). sums (out) receives the column sums of what the product sees.
template <class T>
struct GradientRows {
  int rows, out;
  const T* dy;
  const float* factors;
  Master<T>* sums;  // (out); null: not wanted
};

struct AmxEngine {
  using E = bf16;  // of bf16 activations
  static constexpr int kPanel = 32, kRowAlign = 16, kInnerAlign = 32;
  static int64_t panel_size(int inner) { return round_up(inner, kInnerAlign) * kPanel; }
  // Columns [n, n + kPanel) of B, zero beyond the matrix: of w^T (reduction along w's rows), or of
  // w (reduction along its columns). w (out, in).
  static void pack_transposed(const float* w, int out, int in, int n, bf16* panel);
  static void pack(const float* w, int out, int in, int n, bf16* panel);

  // c (rows, kPanel) = a (rows, inner) panel. rows is rounded up to kRowAlign: so many rows of a
  // are read, and of c written.
  static void multiply(int rows, const bf16* a, int64_t lda, int inner, const bf16* panel, float* c,
                       int64_t ldc);

  // Elements of a chunk's packed g, and of a panel of its packed z.
  static int64_t gradient_size(int chunk, int out) {
    return round_up(chunk, kInnerAlign) * round_up(out, 16);
  }
  static int64_t z_size(int chunk) { return round_up(chunk, kInnerAlign) * kPanel; }
  // Rows [row, row + rows) of the chunk: of g, of a panel of z (columns at z).
  static void pack_gradient(const GradientRows<bf16>& rows, int chunk, int row, bf16* g);
  static void pack_z(int rows, int columns, const bf16* z, int64_t ldz, int row, bf16* panel);
  // dw (outs, columns) (+)= g^T z of a chunk, for filters [first, first + outs) and a panel; first
  // is a multiple of 96.
  static void multiply_outer(int chunk, int first, int outs, int columns, const bf16* g,
                             const bf16* panel, float* dw, int64_t lddw, bool accumulate);
};

// T: the activations' type, which operands are rounded to.
template <class T>
struct TileEngine {
  using E = Master<T>;
  static constexpr int kPanel = 48, kRowAlign = 1, kInnerAlign = 1;
  static constexpr int kFilters = 24;  // of a block of packed g: whole tiles of every level
  static int64_t panel_size(int inner) { return int64_t{inner} * kPanel; }
  static void pack_transposed(const E* w, int out, int in, int n, E* panel);
  static void pack(const E* w, int out, int in, int n, E* panel);
  static void multiply(int rows, const E* a, int64_t lda, int inner, const E* panel, E* c,
                       int64_t ldc);
  static int64_t gradient_size(int chunk, int out) { return chunk * round_up(out, kFilters); }
  static int64_t z_size(int chunk) { return int64_t{chunk} * kPanel; }
  static void pack_gradient(const GradientRows<T>& rows, int chunk, int row, E* g);
  static void pack_z(int rows, int columns, const T* z, int64_t ldz, int row, E* panel);
  static void multiply_outer(int chunk, int first, int outs, int columns, const E* g,
                             const E* panel, E* dw, int64_t lddw, bool accumulate);
};

}  // namespace mono
