// Internal to the implicit_gemm variant: how a problem is laid out, cut into units, and given
// scratch. Everything here is a function of the problem and of the instruction-set level, never of
// the number of threads.
#pragma once

#include <algorithm>
#include <cstddef>
#include <type_traits>

#include "kernels/base/cpu_features.h"
#include "kernels/base/workspace.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/conv2d_implicit_gemm_kernels.h"

namespace mono::implicit_gemm {

// The functions of the best level for T on this CPU; null if there is none.
template <class T>
const Kernels<T>* kernels() {
  if constexpr (std::is_same_v<T, float>) return cpu_isa() >= CpuIsa::avx512 ? &kAvx512 : nullptr;
  if constexpr (std::is_same_v<T, bf16>) {
    if (cpu_isa() == CpuIsa::amx) return &kAmx;
    if (cpu_isa() == CpuIsa::avx512bf16) return &kAvx512Bf16;
  }
  return nullptr;
}

// What planning needs to know of a level.
struct Level {
  int pack, tile_m, panels, row_group, word_align, chunk_words_wanted, wgrad_panels_wanted;
  bool packs_gradient;
};
template <class T>
Level level_of(const Kernels<T>& k) {
  return {k.pack,
          k.tile_m,
          k.panels,
          k.row_group,
          k.word_align,
          k.chunk_words_wanted,
          k.wgrad_panels_wanted,
          k.packs_gradient};
}

constexpr int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}
constexpr int64_t round_up(int64_t a, int64_t b) {
  return ceil_div(a, b) * b;
}

// ---- fprop and dgrad ----

// One residue class of dgrad's output pixels, or all of them at stride 1.
struct TapClass {
  int row, col;        // residues of h and w
  int r_last, s_last;  // the taps used are r_last, r_last - stride, ...
  int R, S;            // and this many
};

RowsProblem plan_fprop(const ConvProblem& problem, const Level& level);
RowsProblem plan_dgrad(const ConvProblem& problem, const TapClass& taps, const Level& level);
TapClass tap_class(const ConvProblem& problem, int row, int col);

FilterPack fprop_filter(const ConvProblem& problem, const RowsProblem& rows, const float* w,
                        Word* packed);
FilterPack dgrad_filter(const ConvProblem& problem, const RowsProblem& rows, const TapClass& taps,
                        const float* w, Word* packed);

int64_t filter_words(const RowsProblem& rows);
int64_t partial_floats(const RowsProblem& rows);  // of one slot, for moments or sums alike
int units_of_images(const RowsProblem& rows, int images);
// At most this many units, however the N images fall into segments.
int64_t max_units(const RowsProblem& rows, int N, int segments);
int max_unit_pixels(const RowsProblem& rows);

// A worker's scratch for rows units.
struct RowsScratch {
  int32_t *offsets, *out_pixels;
  float* tile;
  Word* a;
};
RowsScratch take_rows_scratch(WorkspaceLayout& work, const RowsProblem& rows, const Level& level);

// The place of unit `unit` among those of a segment of images [begin, end).
RowsUnit rows_unit(const RowsProblem& rows, int unit, int begin, int end);

// ---- wgrad ----

struct WgradPlan {
  bool merged_taps;         // (s,c) taken as channels: few channels, packed, no prologue
  int N, H, W, C, S, P, Q;  // as the units see them
  bool pointwise;
  int row_words, chunk_rows, chunks, chunks_per_image, chunk_words, chunks_at_once;
  int copies, copy_rows;
  int64_t copy_words;
  int unit_channels, channel_blocks, parts;
  int64_t dw_floats;  // pitch of a part
};
WgradPlan plan_wgrad(const ConvProblem& problem, bool prologue, const Level& level);
int64_t packed_gradient_words(const WgradPlan& plan, int K);
int64_t z_words(const WgradPlan& plan);

}  // namespace mono::implicit_gemm
