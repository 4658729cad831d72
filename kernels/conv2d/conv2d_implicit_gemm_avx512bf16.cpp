// implicit_gemm on AVX-512-BF16: the 8 by 48 tile with vdpbf16ps on pairs of bf16, which AMD's Zen
// 4 and later run at twice the float rate. (Intel runs it at half of it; AMX replaces it there.)
#include "kernels/conv2d/conv2d_implicit_gemm_rows.h"
#include "kernels/conv2d/conv2d_implicit_gemm_tile8x48.h"
#include "kernels/conv2d/conv2d_implicit_gemm_wgrad.h"

namespace mono::implicit_gemm {
namespace {

struct PairProduct {
  using T = bf16;
  static constexpr int kPack = 2;
  static MONO_INLINE Vec multiply_add(Vec acc, Vec a, Vec b) {
    return _mm512_dpbf16_ps(acc, (__m512bh)a, (__m512bh)b);
  }
};

// g as (words, K) pairs of neighbouring pixels, K rounded up to 16.
struct MicroKernel : Tile8x48<PairProduct> {
  static MONO_INLINE int padded_filters(int K) { return (K + 15) / 16 * 16; }

  static void pack_gradient(const WgradProblem<bf16>& p, int chunk, Word* packed) {
    const ChunkRows rows = rows_of_chunk(p, chunk);
    const int ld = padded_filters(p.K);
    Word* out = packed + int64_t(chunk) * p.chunk_words * ld;
    for (int word = 0; word < rows.count * p.row_words; ++word, out += ld)
      for (int k = 0; k < p.K; k += 16)
        _mm512_storeu_ps(out + k, gradient_words(p, rows, word, k, first_lanes(p.K - k)));
  }

  static const Word* gradient_of(const WgradProblem<bf16>& p, int chunk, int64_t, int k0) {
    return p.packed_g + chunk * gradient_step(p) + k0;
  }
  static int64_t gradient_step(const WgradProblem<bf16>& p) {
    return int64_t(p.chunk_words) * padded_filters(p.K);
  }
  static int64_t gradient_ld(const WgradProblem<bf16>& p) { return padded_filters(p.K); }
};

}  // namespace

const Kernels<bf16> kAvx512Bf16 = {
    .pack = 2,
    .tile_m = MicroKernel::kTileM,
    .panels = MicroKernel::kPanels,
    .row_group = MicroKernel::kRowGroup,
    .word_align = MicroKernel::kWordAlign,
    .chunk_words_wanted = 128,
    .wgrad_panels_wanted = 3,
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
