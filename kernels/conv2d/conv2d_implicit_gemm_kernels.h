// Internal to the implicit_gemm variant: the plain structs that its baseline half (units, plans,
// threads) hands to its vector half (packing, mainloops, epilogues), and the table of vector
// functions that each instruction-set level provides.
//
// Vocabulary. A *word* is 32 bits along a reduction: one float, or two bf16. A *panel* is 16 output
// columns; a packed operand B is panels of (words, 16) words each, which is what an AVX-512 load,
// vdpbf16ps and an AMX tile all want. A *run* is a stretch of words that is contiguous in the
// packed A operand: the (s, c) taps of one filter row, or the whole receptive field.
#pragma once

#include <cstddef>
#include <cstdint>

namespace mono {
struct bf16;
}

namespace mono::implicit_gemm {

inline constexpr int kPanelColumns = 16;
inline constexpr int kMaxRuns = 16;  // filter rows

// Packed words. Declared float: a register-tile kernel broadcasts them one at a time.
using Word = float;

// How the rows of A lie in a unit's scratch.
enum class ALayout {
  pointwise,  // (pixel, C)                         1x1, stride 1: pixels of a segment, any image
  halo,       // (h, w + padding, C)                each input pixel once; runs overlap
  im2col,     // (h, q, S*C), or (p, q, R*S*C) with merged rows
};

// out[m, n] = sum over runs and words of A[m, run, word] * B[run, word, n]: fprop, and each residue
// class of dgrad, as one strided correlation of a source image with R*S taps.
struct RowsProblem {
  int H, W, C;       // source image; C is reduced over
  int R, S, stride;  // taps
  int pad_h, pad_w;  // of the source; negative: the first tap lies inside
  int P, Q;          // output grid of one image
  int columns;       // output channels
  int out_H, out_W;  // the output image; grid point (p,q) is its pixel
  int out_step;      //   (p * out_step + out_row, q * out_step + out_col)
  int out_row, out_col;
  ALayout layout;
  bool merged_rows;     // im2col: one run of R*S*C instead of R runs of S*C
  int channel_words;    // words of one pixel's channels
  int runs, run_words;  // B has runs * run_words words per panel
  int pixel_words;      // pitch of a pixel (pointwise, im2col) in A
  int row_words;        // pitch of a source row in A (halo, im2col)
  int rows_per_class;   // im2col with stride: source rows are kept by residue class
  int64_t image_words;  // pitch of an image in a unit's A
  int unit_pixels;      // pointwise
  int unit_rows, unit_images;
};

// One unit of a RowsProblem: consecutive output rows of one image, whole images, or consecutive
// pixels (pointwise), always inside one segment.
struct RowsUnit {
  int image, images;    // first image and how many (pointwise: 0, 1)
  int row, rows;        // output rows [row, row + rows) of each
  int64_t pixel;        // pointwise: first pixel
  int pixels;           // output pixels of the unit
  Word* a;              // packed A
  float* tile;          // (tile_m, tile_n)
  int32_t* offsets;     // (pixels) word offset of each row in a
  int32_t* out_pixels;  // (pixels) output pixel of each row
  const Word* filter;   // packed B
};

// Column partials of a unit, reduced in unit order afterwards. A slot is kPartialHeader floats (the
// first is the number of rows) and then `columns` rounded up to 16, three times (moments: shift,
// sum, sum of squares) or twice (dgrad: sum dz, sum dz*(x-mean)).
inline constexpr int kPartialHeader = 16;

template <class T>
struct FpropUnit {
  RowsUnit rows;
  const T* x;  // source, whole tensor
  int64_t ldx;
  const float* scale;  // (C) of the unit's segment, or null
  const float* shift;
  T* y;
  int64_t ldy;
  float* partial;  // slot, or null
};

// g = a*dy + b*y + c on one tensor; see ConvDgrad.
template <class T, class GradT>
struct GradientPrologue {
  const GradT* dy;
  int64_t lddy;
  const T* y;
  int64_t ldy;
  const float *a, *b, *c;  // (K) of the segment, or null
  T* g_out;                // pitch K, or null
  int K;
};

template <class T, class GradT>
struct DgradUnit {
  RowsUnit rows;
  GradientPrologue<T, GradT> gradient;  // pointwise; other layouts read `g`
  const T* g;  // (N,P,Q,K) after the prologue, or null: pointwise with prologue
  int64_t ldg;
  const T* x;  // mask source, or null
  int64_t ldx;
  const float* mask_scale;  // (C) of the segment; null: no mask, no sums
  const float* mask_shift;
  const float* mean;
  const float* multiply;  // or null
  GradT* dx;              // or null
  int64_t lddx;
  bool accumulate;
  float* partial;  // slot, or null
};

// B from filters: word w of run r, tap s holds, for lane n, the kPack elements
// filter[n*lane_stride + c*channel_stride + r*run_stride + s*tap_stride] along c. Strides may be
// negative (dgrad flips the taps).
struct FilterPack {
  const float* filter;
  int64_t lane_stride, channel_stride, run_stride, tap_stride;
  int R, S, C, columns;
  int channel_words, runs, run_words;
  bool merged_rows;
  Word* packed;  // (panels, runs * run_words, 16)
};

// dw[k, (r,s,c)] = sum over pixels of g[pixel,k] * z[pixel,(r,s,c)], reduced chunk by chunk: a
// chunk is some output rows, padded to whole words per row and to `word_align` words in all.
template <class T>
struct WgradProblem {
  int N, H, W, C, K, R, S, stride, pad, P, Q;
  int tap_channels;  // 0; or merged taps: C stands for S*tap_channels, S for 1
  bool pointwise;    // rows of different images may share a chunk
  int row_words;     // words of one output row: Q elements along the reduction
  int chunk_rows, chunks, chunks_per_image;
  int chunk_words;        // padded; pitch of a chunk in the packed g
  int chunks_at_once;     // that share a pass over dw: whole images, where these are small
  int copy_rows, copies;  // z is kept once per s and residue class of h: (copies, copy_rows, ...)
  int64_t copy_words;     // pitch of a copy, in words, within a panel's
  const T* x;
  int64_t ldx;
  const float *scale, *shift;  // (segments, C), or null
  int segments;
  const int* segment_offsets;
  const T* g;
  int64_t ldg;
  const Word* packed_g;  // see MicroKernel::pack_gradient; f32 on AVX-512 reads g itself
};

// What a unit multiplies for one tile: `chunks` neighbouring chunks of `words` words each.
struct OuterOperands {
  const Word* g;       // from the tile's first filter on
  int64_t g_step;      // from chunk to chunk
  int64_t g_ld;        // from word to word (AVX-512), or from 16 words to 16 words (AMX)
  const Word* z;       // (words, 16) of the tile's first panel
  int64_t z_step;      // from chunk to chunk
  int64_t panel_step;  // from panel to panel
  int chunks, words;
};

struct WgradUnit {
  int chunk_begin, chunk_end;
  int channel_begin, channel_end;
  Word* z;  // (chunks at a time, panels, copies, copy_words, 16)
  float* tile;
  float* dw;        // (K, R*S*C): this unit's part
  bool accumulate;  // add to dw from the first chunk on
};

// What one instruction-set level provides for one activation type.
template <class T>
struct Kernels {
  int pack;        // elements per word
  int tile_m;      // rows of a register tile
  int panels;      // panels of a register tile
  int row_group;   // consecutive rows that must be evenly spaced in A
  int word_align;  // runs and chunks are multiples of it
  int chunk_words_wanted;
  int wgrad_panels_wanted;
  bool packs_gradient;
  void (*pack_filter)(const FilterPack&, int panel);
  void (*fprop_unit)(const RowsProblem&, const FpropUnit<T>&);
  void (*dgrad_unit)(const RowsProblem&, const DgradUnit<T, T>&);
  void (*dgrad_unit_master)(const RowsProblem&, const DgradUnit<T, float>&);
  void (*gradient)(const GradientPrologue<T, T>&, int64_t begin, int64_t end);
  void (*gradient_master)(const GradientPrologue<T, float>&, int64_t begin, int64_t end);
  void (*pack_gradient)(const WgradProblem<T>&, int chunk, Word* packed);
  void (*wgrad_unit)(const WgradProblem<T>&, const WgradUnit&);
};

// Reductions, in double where they merge units; AVX-512.
struct Reductions {
  // Chan's merge of `units` slots, in order, into mean and biased variance (columns).
  void (*merge_moments)(const float* slots, int64_t slot_floats, int units, int columns,
                        float* mean, float* variance);
  // Sums of the two sets of columns of `units` slots, in order; a null sum is left out.
  void (*merge_sums)(const float* slots, int64_t slot_floats, int units, int columns, float* sum0,
                     float* sum1, bool accumulate);
  // dw[i] += partials[0][i] + partials[1][i] + ... over [begin, end)
  void (*add_partials)(float* dw, const float* partials, int64_t pitch, int count, int64_t begin,
                       int64_t end);
};

extern const Kernels<float> kAvx512;
extern const Reductions kReductions;
extern const Kernels<bf16> kAvx512Bf16;
extern const Kernels<bf16> kAmx;
}  // namespace mono::implicit_gemm
