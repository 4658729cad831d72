// The register tile of the two AVX-512 levels of implicit_gemm: 8 rows by up to 48 columns. They
// differ in one instruction: vfmadd on floats, or vdpbf16ps on pairs of bf16.
//
// fprop and dgrad sum in blocks (BlockedSum): the rounding error of a sum of L terms is then that
// of about 20 additions instead of L/2, for 2 % of the time. wgrad's chunks are blocks already.
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
  static constexpr int kBlock = 32, kGroup = 8;         // see BlockedSum
  static constexpr int kPrefetch = 12 * kPanelColumns;  // B streams from L2: 12 words ahead
  struct Session {
    Session() {}
  };

  template <int panels>
  struct Accumulators {
    Vec c[kTileM][panels];

    MONO_INLINE Accumulators() { clear(); }
    MONO_INLINE void clear() {
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
    // tile = c, + addend, + tile; addend has the tile's layout.
    template <bool kAddend, bool kAccumulate>
    MONO_INLINE void store_to(float* tile, const float* addend = nullptr) const {
#pragma GCC unroll 8
      for (int i = 0; i < kTileM; ++i)
#pragma GCC unroll 3
        for (int j = 0; j < panels; ++j) {
          const int at = i * kTileN + j * kPanelColumns;
          Vec v = c[i][j];
          if (kAddend) v = _mm512_add_ps(v, _mm512_loadu_ps(addend + at));
          if (kAccumulate) v = _mm512_add_ps(v, _mm512_loadu_ps(tile + at));
          _mm512_storeu_ps(tile + at, v);
        }
    }
  };

  // A sum over words in three levels: blocks of kBlock words in registers, groups of kGroup blocks,
  // and the tile. Rounding errors then grow with the lengths of the levels, not with their product.
  template <int panels>
  struct BlockedSum {
    Accumulators<panels> acc;
    float* tile;
    int left = kBlock, blocks = 0;
    bool first = true;
    alignas(64) float group[kTileM * kTileN];

    MONO_INLINE explicit BlockedSum(float* to) : tile(to) {}
    // Calls step(acc, k) for k in [0, words).
    template <class Step>
    MONO_INLINE void add(int words, const Step& step) {
      for (int k = 0; k < words;) {
        if (left == 0) close_block();
        const int end = words - k < left ? words : k + left;
        left -= end - k;
        for (; k < end; ++k) step(acc, k);
      }
    }
    MONO_INLINE void close_block() {
      if (blocks + 1 == kGroup)
        close_group();
      else if (blocks++ == 0)
        acc.template store_to<false, false>(group);
      else
        acc.template store_to<false, true>(group);
      acc.clear();
      left = kBlock;
    }
    MONO_INLINE void close_group() {
      if (blocks == 0)
        first ? acc.template store_to<false, false>(tile)
              : acc.template store_to<false, true>(tile);
      else if (first)
        acc.template store_to<true, false>(tile, group);
      else
        acc.template store_to<true, true>(tile, group);
      blocks = 0;
      first = false;
    }
  };

  template <int panels>
  static void rows_product(const Word* const* starts, const int64_t* run_offsets, int runs,
                           int words, const Word* b, int64_t panel_step, float* tile) {
    BlockedSum<panels> sum(tile);
    for (int run = 0; run < runs; ++run) {
      const Word* row[kTileM];
#pragma GCC unroll 8
      for (int i = 0; i < kTileM; ++i) row[i] = starts[i] + run_offsets[run];
      sum.add(words, [&](Accumulators<panels>& acc, int64_t k) {
        acc.step([&](int i) { return row[i][k]; }, b, panel_step);
        b += kPanelColumns;
      });
    }
    sum.close_group();
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
    acc.template store_to<false, false>(tile);
  }

  static void multiply_outer(int panels, int, const OuterOperands& operands, float* tile) {
    if (panels == 3) return outer_product<3>(operands, tile);
    if (panels == 2) return outer_product<2>(operands, tile);
    outer_product<1>(operands, tile);
  }
};

}  // namespace
}  // namespace mono::implicit_gemm
