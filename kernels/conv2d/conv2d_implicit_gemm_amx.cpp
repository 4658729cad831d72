// implicit_gemm on AMX: bf16 in a block of 32 rows by 32 columns, two by two tiles of 16 by 16
// float accumulators, two tiles of A and two of B. A row-major block of packed A is a tile as it
// is; a B panel is a tile as it is (pairs of bf16 are what it expects).
#include "kernels/base/amx_tiles.h"
#include "kernels/conv2d/conv2d_implicit_gemm_rows.h"
#include "kernels/conv2d/conv2d_implicit_gemm_wgrad.h"

namespace mono::implicit_gemm {
namespace {

constexpr int kTile = kAmxTile;

// Tiles 0-3: accumulators (row group, panel); 4, 5: A of the row groups; 6, 7: B of the panels.
struct MicroKernel {
  using T = bf16;
  static constexpr int kPack = 2;
  static constexpr int kTileM = 32, kPanels = 2, kTileN = kPanels * kPanelColumns;
  static constexpr int kRowGroup = kTile, kWordAlign = kTile;

  using Session = AmxSession;

  // One step of 16 words: groups * panels tile products.
  template <int groups, int panels>
  static MONO_INLINE void step(const Word* a0, const Word* a1, int64_t a_bytes, const Word* b,
                               int64_t panel_step) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a0, a_bytes);
    if constexpr (panels == 2) _tile_loadd(7, b + panel_step, 64);
    _tile_dpbf16ps(0, 4, 6);
    if constexpr (panels == 2) _tile_dpbf16ps(1, 4, 7);
    if constexpr (groups == 2) {
      _tile_loadd(5, a1, a_bytes);
      _tile_dpbf16ps(2, 5, 6);
      if constexpr (panels == 2) _tile_dpbf16ps(3, 5, 7);
    }
  }

  static MONO_INLINE void clear() {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  template <int groups, int panels>
  static MONO_INLINE void store_to(float* tile) {
    constexpr int64_t kBytes = kTileN * sizeof(float);
    _tile_stored(0, tile, kBytes);
    if constexpr (panels == 2) _tile_stored(1, tile + kTile, kBytes);
    if constexpr (groups == 2) _tile_stored(2, tile + kTile * kTileN, kBytes);
    if constexpr (groups == 2 && panels == 2)
      _tile_stored(3, tile + kTile * kTileN + kTile, kBytes);
  }

  template <int groups, int panels>
  static void rows_product(const Word* const* starts, int row_stride, const int64_t* run_offsets,
                           int runs, int words, const Word* b, int64_t panel_step, float* tile) {
    const int64_t bytes = int64_t(row_stride) * sizeof(Word);
    clear();
    for (int run = 0; run < runs; ++run) {
      const Word* a0 = starts[0] + run_offsets[run];
      const Word* a1 = starts[1] + run_offsets[run];
      for (int k = 0; k < words; k += kTile, b += kTile * kPanelColumns)
        step<groups, panels>(a0 + k, a1 + k, bytes, b, panel_step);
    }
    store_to<groups, panels>(tile);
  }

  static void multiply_rows(int panels, const Word* const* starts, int row_stride, int groups,
                            const int64_t* run_offsets, int runs, int words, const Word* b,
                            int64_t panel_step, float* tile) {
    const auto product = groups == 2 ? (panels == 2 ? rows_product<2, 2> : rows_product<2, 1>)
                                     : (panels == 2 ? rows_product<1, 2> : rows_product<1, 1>);
    product(starts, row_stride, run_offsets, runs, words, b, panel_step, tile);
  }

  // g transposed: blocks of 16 words, each (K rounded up to 16, 16 words), so that 16 filters of a
  // block are a tile of A.
  static MONO_INLINE int padded_filters(int K) { return (K + kTile - 1) / kTile * kTile; }

  static void pack_gradient(const WgradProblem<bf16>& p, int chunk, Word* packed) {
    const ChunkRows rows = rows_of_chunk(p, chunk);
    const int filters = padded_filters(p.K);
    Word* out = packed + int64_t(chunk) * p.chunk_words * filters;
    for (int word = 0; word < p.chunk_words; word += kTile)
      for (int k = 0; k < filters; k += kTile, out += kTile * kTile) {
        const __mmask16 mask = p.K - k >= 16 ? 0xffff : first_lanes(p.K - k);
        Vec rows_of_words[kTile];  // (16 words, 16 filters)
        for (int i = 0; i < kTile; ++i)
          rows_of_words[i] = gradient_words(p, rows, word + i, k, mask);
        store_transposed(rows_of_words, out);
      }
  }

  template <int groups, int panels>
  static void outer_product(const OuterOperands& o, float* tile) {
    clear();
    for (int chunk = 0; chunk < o.chunks; ++chunk) {
      const Word* g = o.g + chunk * o.g_step;
      const Word* z = o.z + chunk * o.z_step;
      for (int k = 0; k < o.words; k += kTile, g += o.g_ld, z += kTile * kPanelColumns)
        step<groups, panels>(g, g + kTile * kTile, 64, z, o.panel_step);
    }
    store_to<groups, panels>(tile);
  }

  static void multiply_outer(int panels, int filters, const OuterOperands& operands, float* tile) {
    const auto product = filters > kTile
                             ? (panels == 2 ? outer_product<2, 2> : outer_product<2, 1>)
                             : (panels == 2 ? outer_product<1, 2> : outer_product<1, 1>);
    product(operands, tile);
  }

  static const Word* gradient_of(const WgradProblem<bf16>& p, int chunk, int64_t, int k0) {
    return p.packed_g + chunk * gradient_step(p) + k0 * kTile;
  }
  static int64_t gradient_step(const WgradProblem<bf16>& p) {
    return int64_t(p.chunk_words) * padded_filters(p.K);
  }
  static int64_t gradient_ld(const WgradProblem<bf16>& p) {
    return int64_t(padded_filters(p.K)) * kTile;
  }
};

}  // namespace

const Kernels<bf16> kAmx = {
    .pack = 2,
    .tile_m = MicroKernel::kTileM,
    .panels = MicroKernel::kPanels,
    .row_group = MicroKernel::kRowGroup,
    .word_align = MicroKernel::kWordAlign,
    .chunk_words_wanted = 256,
    .wgrad_panels_wanted = 4,
    .packs_gradient = true,
    .pack_filter = pack_filter_panel<MicroKernel>,
    .fprop_unit = run_fprop_unit<MicroKernel>,
    .dgrad_unit = run_dgrad_unit<MicroKernel, bf16>,
    .dgrad_unit_master = run_dgrad_unit<MicroKernel, float>,
    .gradient = apply_gradient_prologue<bf16, bf16>,
    .gradient_master = apply_gradient_prologue<bf16, float>,
    .pack_gradient = MicroKernel::pack_gradient,
    .wgrad_unit = run_wgrad_unit<MicroKernel>,
};

}  // namespace mono::implicit_gemm
