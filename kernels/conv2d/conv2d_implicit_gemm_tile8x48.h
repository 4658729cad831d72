// The register tile of the two AVX-512 levels of implicit_gemm: 8 rows by up to 48 columns. They
// differ in one instruction: vfmadd on floats, or vdpbf16ps on pairs of bf16.
#pragma once

#include "kernels/conv2d/conv2d_implicit_gemm_vector.h"

namespace mono::implicit_gemm {
namespace {

template <class Product>
struct Tile8x48 {
  using T = typename Product::T;
  static constexpr int kPack = Product::kPack;
  static constexpr int kTileM = 8, kPanels = 3, kTileN = kPanels * kPanelColumns;
  static constexpr int kRowGroup = 1, kWordAlign = 1;
  static constexpr int kPrefetch = 12 * kPanelColumns;  // B streams from L2: 12 words ahead
  struct Session {
    Session() {}
  };

  template <int panels>
  struct Accumulators {
    Vec c[kTileM][panels];

    MONO_INLINE Accumulators() {
#pragma GCC unroll 8
      for (int i = 0; i < kTileM; ++i)
#pragma GCC unroll 3
        for (int j = 0; j < panels; ++j) c[i][j] = _mm512_setzero_ps();
    }
    // One word of 8 rows times one word of the panels; a(i) is row i's word, broadcast.
    template <class A>
    MONO_INLINE void step(const A& a, const Word* b, int64_t panel_step) {
      Vec bv[panels];  // (1, N)
#pragma GCC unroll 3
      for (int j = 0; j < panels; ++j) {
        bv[j] = _mm512_loadu_ps(b + j * panel_step);
        _mm_prefetch((const char*)(b + j * panel_step + kPrefetch), _MM_HINT_T0);
      }
#pragma GCC unroll 8
      for (int i = 0; i < kTileM; ++i) {
        const Vec av = _mm512_set1_ps(a(i));
#pragma GCC unroll 3
        for (int j = 0; j < panels; ++j) c[i][j] = Product::multiply_add(c[i][j], av, bv[j]);
      }
    }
    MONO_INLINE void store_to(float* tile) const {
#pragma GCC unroll 8
      for (int i = 0; i < kTileM; ++i)
#pragma GCC unroll 3
        for (int j = 0; j < panels; ++j)
          _mm512_storeu_ps(tile + i * kTileN + j * kPanelColumns, c[i][j]);
    }
  };

  template <int panels>
  static void rows_product(const Word* const* starts, const int64_t* run_offsets, int runs,
                           int words, const Word* b, int64_t panel_step, float* tile) {
    Accumulators<panels> acc;
    for (int run = 0; run < runs; ++run) {
      const Word* row[kTileM];
#pragma GCC unroll 8
      for (int i = 0; i < kTileM; ++i) row[i] = starts[i] + run_offsets[run];
      for (int64_t k = 0; k < words; ++k, b += kPanelColumns)
        acc.step([&](int i) { return row[i][k]; }, b, panel_step);
    }
    acc.store_to(tile);
  }

  static void multiply_rows(int panels, const Word* const* starts, int, int,
                            const int64_t* run_offsets, int runs, int words, const Word* b,
                            int64_t panel_step, float* tile) {
    if (panels == 3) return rows_product<3>(starts, run_offsets, runs, words, b, panel_step, tile);
    if (panels == 2) return rows_product<2>(starts, run_offsets, runs, words, b, panel_step, tile);
    rows_product<1>(starts, run_offsets, runs, words, b, panel_step, tile);
  }

  // Word w of filter i at g[w * g_ld + i].
  template <int panels>
  static void outer_product(const OuterOperands& o, float* tile) {
    Accumulators<panels> acc;
    for (int chunk = 0; chunk < o.chunks; ++chunk) {
      const Word* g = o.g + chunk * o.g_step;
      const Word* z = o.z + chunk * o.z_step;
      for (int word = 0; word < o.words; ++word, g += o.g_ld, z += kPanelColumns)
        acc.step([&](int i) { return g[i]; }, z, o.panel_step);
    }
    acc.store_to(tile);
  }

  static void multiply_outer(int panels, int, const OuterOperands& operands, float* tile) {
    if (panels == 3) return outer_product<3>(operands, tile);
    if (panels == 2) return outer_product<2>(operands, tile);
    outer_product<1>(operands, tile);
  }
};

}  // namespace
}  // namespace mono::implicit_gemm
