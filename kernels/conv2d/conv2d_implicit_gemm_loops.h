// The vector half of the implicit_gemm convolutions, shared by its instruction-set levels.
//
// Included by conv2d_implicit_gemm_<level>.cpp only, each of which defines a MicroKernel and
// instantiates run_rows_unit and run_wgrad_unit with it. Everything is in an unnamed namespace, so
// no two levels share code. A MicroKernel K has
//
//   T                   activation type             kPack       elements per word
//   kTileM, kPanels     register tile: kTileM rows by kPanels*16 columns
//   kRowGroup           rows that are read with one base address and a stride
//   kWordAlign          runs and chunks are multiples of it
//   Session             constructed around a unit (AMX: loads the tile configuration)
//   multiply_rows(panels, starts, row_stride, groups, run_offsets, runs, words, b, panel_step,
//   tile)
//                       tile (M,N) = A (M, runs*words) * B (runs*words, N), A in the unit's scratch
//   multiply_outer(panels, filters, operands, tile)
//                       tile (M,N) = g^T (M, words) * z (words, N), M being filters
//   gradient_of(problem, chunk, first_row, k0), gradient_step(problem), gradient_ld(problem)
//                       g for multiply_outer
//
// The accumulators of a tile pass through a small buffer in the L1 cache: 24 stores and loads
// against 24 * words multiplications, and in return every level shares every epilogue.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "kernels/base/bf16.h"
#include "kernels/conv2d/conv2d_implicit_gemm_kernels.h"

namespace mono::implicit_gemm {
namespace {

#define MONO_INLINE inline __attribute__((always_inline))

// ---- vectors of 16 floats ----

using Vec = __m512;

MONO_INLINE __mmask16 first_lanes(int count) {
  return count >= 16 ? __mmask16(0xffff) : __mmask16((1u << count) - 1);
}

MONO_INLINE Vec load(const float* p, __mmask16 mask) {
  return _mm512_maskz_loadu_ps(mask, p);
}
MONO_INLINE void store(float* p, __mmask16 mask, Vec v) {
  _mm512_mask_storeu_ps(p, mask, v);
}
MONO_INLINE void store_32(float* p, Vec first, Vec second) {
  _mm512_storeu_ps(p, first);
  _mm512_storeu_ps(p + 16, second);
}
// vmaxps returns its second operand where one is NaN: a NaN must stay one.
MONO_INLINE Vec relu(Vec v) {
  return _mm512_max_ps(_mm512_setzero_ps(), v);
}
// The value that storing as T and loading again gives.
MONO_INLINE Vec rounded(Vec v, const float*) {
  return v;
}
// Words of two pixels (a float has one element per word, so the second is not there).
template <class T>
MONO_INLINE Vec words_of(Vec first, Vec second);
template <>
MONO_INLINE Vec words_of<float>(Vec first, Vec) {
  return first;
}

// 16 words from consecutive floats.
template <class T>
MONO_INLINE Vec words_along(const float* p);
template <>
MONO_INLINE Vec words_along<float>(const float* p) {
  return _mm512_loadu_ps(p);
}

#ifdef __AVX512BF16__
MONO_INLINE Vec widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
MONO_INLINE Vec load(const bf16* p, __mmask16 mask) {
  return widen(_mm256_maskz_loadu_epi16(mask, p));
}
MONO_INLINE void store(bf16* p, __mmask16 mask, Vec v) {
  _mm256_mask_storeu_epi16(p, mask, (__m256i)_mm512_cvtneps_pbh(v));
}
template <>
MONO_INLINE Vec words_along<bf16>(const float* p) {
  return _mm512_castsi512_ps(
      (__m512i)_mm512_cvtne2ps_pbh(_mm512_loadu_ps(p + 16), _mm512_loadu_ps(p)));
}
MONO_INLINE void store_32(bf16* p, Vec first, Vec second) {
  _mm512_storeu_si512(p, (__m512i)_mm512_cvtne2ps_pbh(second, first));
}
MONO_INLINE Vec rounded(Vec v, const bf16*) {
  return widen((__m256i)_mm512_cvtneps_pbh(v));
}
// Lane i: (first[i], second[i]) rounded to bf16, first in the low half.
template <>
MONO_INLINE Vec words_of<bf16>(Vec first, Vec second) {
  const __m512i halves = (__m512i)_mm512_cvtne2ps_pbh(second, first);
  const __m512i lanes = _mm512_add_epi32(
      _mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
      _mm512_slli_epi32(
          _mm512_setr_epi32(16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31), 16));
  return _mm512_castsi512_ps(_mm512_permutexvar_epi16(lanes, halves));
}
#endif

// (16,16) words to their transpose: four rounds of exchanging halves of growing size.
MONO_INLINE void store_transposed(const Vec (&in)[16], Word* out) {
  Vec a[16], b[16];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) {
    a[2 * i] = _mm512_unpacklo_ps(in[2 * i], in[2 * i + 1]);
    a[2 * i + 1] = _mm512_unpackhi_ps(in[2 * i], in[2 * i + 1]);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // b[4i+c]: columns c, c+4, ... of rows 4i to 4i+3
    b[4 * i] = _mm512_shuffle_ps(a[4 * i], a[4 * i + 2], 0x44);
    b[4 * i + 1] = _mm512_shuffle_ps(a[4 * i], a[4 * i + 2], 0xee);
    b[4 * i + 2] = _mm512_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0x44);
    b[4 * i + 3] = _mm512_shuffle_ps(a[4 * i + 1], a[4 * i + 3], 0xee);
  }
#pragma GCC unroll 4
  for (int c = 0; c < 4; ++c) {
    const Vec low01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0x88);   // columns c, c+8
    const Vec high01 = _mm512_shuffle_f32x4(b[c], b[4 + c], 0xdd);  // columns c+4, c+12
    const Vec low23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0x88);
    const Vec high23 = _mm512_shuffle_f32x4(b[8 + c], b[12 + c], 0xdd);
    _mm512_storeu_ps(out + c * 16, _mm512_shuffle_f32x4(low01, low23, 0x88));
    _mm512_storeu_ps(out + (c + 8) * 16, _mm512_shuffle_f32x4(low01, low23, 0xdd));
    _mm512_storeu_ps(out + (c + 4) * 16, _mm512_shuffle_f32x4(high01, high23, 0x88));
    _mm512_storeu_ps(out + (c + 12) * 16, _mm512_shuffle_f32x4(high01, high23, 0xdd));
  }
}

// ---- prologues: one vector of a pixel's channels, as float ----

template <class T, bool kBnRelu>
struct ForwardLoader {
  const T* x;
  int64_t ldx;
  const float *scale, *shift;

  // Whether the channels of neighbouring pixels may be read as one long pixel.
  MONO_INLINE bool contiguous(int C) const { return !kBnRelu && ldx == C; }
  MONO_INLINE Vec operator()(int64_t pixel, int c, __mmask16 mask) const {
    const Vec v = load(x + pixel * ldx + c, mask);
    if constexpr (!kBnRelu) return v;
    const Vec z = _mm512_fmadd_ps(v, load(scale + c, mask), load(shift + c, mask));
    return relu(z);
  }
};

template <class T, class GradT>
struct GradientLoader {
  GradientPrologue<T, GradT> p;

  MONO_INLINE bool contiguous(int) const { return false; }
  MONO_INLINE Vec operator()(int64_t pixel, int c, __mmask16 mask) const {
    Vec g = load(p.dy + pixel * p.lddy + c, mask);
    if (p.b) {
      const Vec affine = _mm512_fmadd_ps(load(p.b + c, mask), load(p.y + pixel * p.ldy + c, mask),
                                         p.c ? load(p.c + c, mask) : _mm512_setzero_ps());
      g = p.a ? _mm512_fmadd_ps(load(p.a + c, mask), g, affine) : _mm512_add_ps(g, affine);
    } else if (p.a) {
      g = _mm512_mul_ps(load(p.a + c, mask), g);
    }
    if (p.g_out) store(p.g_out + pixel * p.K + c, mask, g);
    return g;
  }
};

template <class T, class GradT>
void apply_gradient_prologue(const GradientPrologue<T, GradT>& prologue, int64_t begin,
                             int64_t end) {
  const GradientLoader<T, GradT> loader{prologue};
  for (int64_t pixel = begin; pixel < end; ++pixel)
    for (int c = 0; c < prologue.K; c += 16) loader(pixel, c, first_lanes(prologue.K - c));
}

// ---- packing A ----

template <class K, class Loader>
MONO_INLINE void pack_pixel(Word* words, const Loader& loader, int64_t pixel, int C) {
  using T = typename K::T;
  T* out = reinterpret_cast<T*>(words);
  int c = 0;
  for (; c + 32 <= C; c += 32)
    store_32(out + c, loader(pixel, c, 0xffff), loader(pixel, c + 16, 0xffff));
  for (; c + 16 <= C; c += 16) store(out + c, 0xffff, loader(pixel, c, 0xffff));
  if (c < C) {
    const int padded = (C - c + K::kPack - 1) / K::kPack * K::kPack;
    store(out + c, first_lanes(padded), loader(pixel, c, first_lanes(C - c)));
  }
}

MONO_INLINE void zero_words(Word* words, int count) {
  std::memset(words, 0, size_t(count) * sizeof(Word));
}

template <class K, class Loader>
void pack_halo_row(const RowsProblem& p, const Loader& loader, int64_t image, int h, Word* row) {
  const int columns = (p.Q - 1) * p.stride + p.S;
  if (h < 0 || h >= p.H) return zero_words(row, columns * p.channel_words);
  const int64_t first = (image * p.H + h) * p.W - p.pad_w;
  if (loader.contiguous(p.C) && p.channel_words * K::kPack == p.C) {
    const int begin = p.pad_w > 0 ? p.pad_w : 0;
    const int end = columns < p.W + p.pad_w ? columns : p.W + p.pad_w;
    zero_words(row, begin * p.channel_words);
    pack_pixel<K>(row + int64_t(begin) * p.channel_words, loader, first + begin,
                  (end - begin) * p.C);
    return zero_words(row + int64_t(end) * p.channel_words, (columns - end) * p.channel_words);
  }
  for (int j = 0; j < columns; ++j) {
    Word* out = row + int64_t(j) * p.channel_words;
    const int w = j - p.pad_w;
    if (w < 0 || w >= p.W)
      zero_words(out, p.channel_words);
    else
      pack_pixel<K>(out, loader, first + j, p.C);
  }
}

// The S taps of one source row, for each of the Q output columns.
template <class K, class Loader>
void pack_im2col_row(const RowsProblem& p, const Loader& loader, int64_t image, int h, Word* row) {
  const bool inside = h >= 0 && h < p.H;
  const int64_t first = (image * p.H + h) * p.W;
  const bool long_pixels = loader.contiguous(p.C) && p.channel_words * K::kPack == p.C;
  for (int q = 0; q < p.Q; ++q) {
    Word* out = row + int64_t(q) * p.pixel_words;
    const int left = q * p.stride - p.pad_w;
    if (inside && long_pixels && left >= 0 && left + p.S <= p.W) {
      pack_pixel<K>(out, loader, first + left, p.S * p.C);
      continue;
    }
    for (int s = 0; s < p.S; ++s, out += p.channel_words) {
      const int w = left + s;
      if (inside && w >= 0 && w < p.W)
        pack_pixel<K>(out, loader, first + w, p.C);
      else
        zero_words(out, p.channel_words);
    }
  }
}

// Zeros behind the taps, up to the run's padded length.
MONO_INLINE void zero_run_tails(const RowsProblem& p, Word* first, int pixels) {
  const int used = p.channel_words * p.S * (p.merged_rows ? p.R : 1);
  if (used == p.run_words) return;
  for (int i = 0; i < pixels; ++i)
    zero_words(first + int64_t(i) * p.pixel_words + used, p.run_words - used);
}

template <class K, class Loader>
void pack_rows(const RowsProblem& p, const RowsUnit& u, const Loader& loader) {
  if (p.layout == ALayout::pointwise) {
    for (int m = 0; m < u.pixels; ++m)
      pack_pixel<K>(u.a + int64_t(m) * p.pixel_words, loader, u.pixel + m, p.C);
    return zero_run_tails(p, u.a, u.pixels);
  }
  for (int i = 0; i < u.images; ++i) {
    Word* base = u.a + i * p.image_words;
    const int64_t image = u.image + i;
    const int h0 = u.row * p.stride - p.pad_h;
    if (p.merged_rows) {
      for (int row = 0; row < u.rows; ++row)
        for (int r = 0; r < p.R; ++r)
          pack_im2col_row<K>(p, loader, image, h0 + row * p.stride + r,
                             base + int64_t(row) * p.row_words + r * p.S * p.channel_words);
      zero_run_tails(p, base, u.rows * p.Q);
      continue;
    }
    const int source_rows = p.R == 0 ? 0 : (u.rows - 1) * p.stride + p.R;
    for (int j = 0; j < source_rows; ++j) {
      if (j % p.stride >= p.R) continue;  // between the taps
      if (p.layout == ALayout::halo) {
        pack_halo_row<K>(p, loader, image, h0 + j, base + int64_t(j) * p.row_words);
      } else {
        const int slot = j % p.stride * p.rows_per_class + j / p.stride;
        Word* row = base + int64_t(slot) * p.row_words;
        pack_im2col_row<K>(p, loader, image, h0 + j, row);
        zero_run_tails(p, row, p.Q);
      }
    }
  }
}

// Where each output row of the unit starts in A, and which output pixel it is.
MONO_INLINE void fill_row_tables(const RowsProblem& p, const RowsUnit& u) {
  if (p.layout == ALayout::pointwise) {
    for (int m = 0; m < u.pixels; ++m) {
      u.offsets[m] = m * p.pixel_words;
      u.out_pixels[m] = int32_t(u.pixel + m);
    }
    return;
  }
  int m = 0;
  for (int i = 0; i < u.images; ++i)
    for (int row = 0; row < u.rows; ++row)
      for (int q = 0; q < p.Q; ++q, ++m) {
        const int64_t in_image =
            p.layout == ALayout::halo
                ? int64_t(row) * p.stride * p.row_words + int64_t(q) * p.stride * p.channel_words
                : int64_t(row) * p.row_words + int64_t(q) * p.pixel_words;
        u.offsets[m] = int32_t(i * p.image_words + in_image);
        const int64_t out_h = int64_t(u.row + row) * p.out_step + p.out_row;
        const int64_t out_w = int64_t(q) * p.out_step + p.out_col;
        u.out_pixels[m] = int32_t(((u.image + i) * int64_t(p.out_H) + out_h) * p.out_W + out_w);
      }
}

// ---- packing B ----

// 16 words of 16 lanes from filters whose channels are contiguous: a transpose.
template <class K>
void pack_filter_square(const float* filter, int64_t lane_stride, int lanes, Word* out) {
  Vec words[16];  // (16 lanes, 16 words)
  for (int n = 0; n < 16; ++n) {
    const float* row = filter + n * lane_stride;
    words[n] = n < lanes ? words_along<typename K::T>(row) : _mm512_setzero_ps();
  }
  store_transposed(words, out);
}

template <class K>
void pack_filter_panel(const FilterPack& f, int panel) {
  const int n0 = panel * kPanelColumns;
  const __mmask16 lanes = first_lanes(f.columns - n0);
  const float* filter = f.filter + n0 * f.lane_stride;
  const int64_t panel_words = int64_t(f.runs) * f.run_words;
  Word* packed = f.packed + panel * panel_words * kPanelColumns;
  const __m512i lane_index =
      _mm512_mullo_epi32(_mm512_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15),
                         _mm512_set1_epi32(int(f.lane_stride)));
  const auto lanes_at = [&](const float* p) {
    return f.lane_stride == 1
               ? _mm512_maskz_loadu_ps(lanes, p)
               : _mm512_mask_i32gather_ps(_mm512_setzero_ps(), lanes, lane_index, p, 4);
  };
  if (!f.merged_rows && f.S * f.channel_words < f.run_words)
    std::memset(packed, 0, size_t(panel_words) * kPanelColumns * sizeof(Word));
  if (f.merged_rows)
    std::memset(
        packed + int64_t(f.R) * f.S * f.channel_words * kPanelColumns, 0,
        size_t(panel_words - int64_t(f.R) * f.S * f.channel_words) * kPanelColumns * sizeof(Word));
  for (int r = 0; r < f.R; ++r)
    for (int s = 0; s < f.S; ++s) {
      const int64_t word = f.merged_rows ? int64_t(r * f.S + s) * f.channel_words
                                         : int64_t(r) * f.run_words + s * f.channel_words;
      Word* out = packed + word * kPanelColumns;
      const float* tap = filter + r * f.run_stride + s * f.tap_stride;
      int c = 0;
      if (f.channel_stride == 1)
        for (; c + 16 * K::kPack <= f.C; c += 16 * K::kPack, out += 16 * kPanelColumns)
          pack_filter_square<K>(tap + c, f.lane_stride, f.columns - n0, out);
      for (; c < f.C; c += K::kPack, out += kPanelColumns) {
        const Vec first = lanes_at(tap + c * f.channel_stride);
        const Vec second = K::kPack == 2 && c + 1 < f.C ? lanes_at(tap + (c + 1) * f.channel_stride)
                                                        : _mm512_setzero_ps();
        _mm512_storeu_ps(out, words_of<typename K::T>(first, second));
      }
    }
}

// ---- epilogues: a tile's rows to memory ----

// y and its moments: sums of y - shift and its square, shift being the unit's first row.
template <class T>
struct FpropEpilogue {
  T* y;
  int64_t ldy;
  int columns;
  float* partial;      // slot, or null
  int64_t partial_ld;  // columns rounded up to 16

  MONO_INLINE void prefetch(const int32_t* pixels, int rows, int n0, int panels) const {
    for (int i = 0; i < rows; ++i)
      for (int b = 0; b < panels * kPanelColumns; b += int(64 / sizeof(T)))
        __builtin_prefetch(y + pixels[i] * ldy + n0 + b, 1, 3);
  }

  template <int kTileN>
  MONO_INLINE void apply(const float* tile, const int32_t* pixels, int rows, int n0, int panels,
                         bool first_rows) const {
    for (int j = 0; j < panels; ++j) {
      const int n = n0 + j * kPanelColumns;
      const __mmask16 mask = first_lanes(columns - n);
      const float* acc = tile + j * kPanelColumns;
      if (!partial) {
        for (int i = 0; i < rows; ++i)
          store(y + pixels[i] * ldy + n, mask, _mm512_loadu_ps(acc + i * kTileN));
        continue;
      }
      float* slot = partial + kPartialHeader + n;
      Vec shift, sum, squares;
      if (first_rows) {
        shift = rounded(_mm512_loadu_ps(acc), y);
        sum = squares = _mm512_setzero_ps();
        _mm512_storeu_ps(slot, shift);
      } else {
        shift = _mm512_loadu_ps(slot);
        sum = _mm512_loadu_ps(slot + partial_ld);
        squares = _mm512_loadu_ps(slot + 2 * partial_ld);
      }
      for (int i = 0; i < rows; ++i) {
        const Vec v = _mm512_loadu_ps(acc + i * kTileN);
        store(y + pixels[i] * ldy + n, mask, v);
        const Vec d = _mm512_sub_ps(rounded(v, y), shift);
        sum = _mm512_add_ps(sum, d);
        squares = _mm512_fmadd_ps(d, d, squares);
      }
      _mm512_storeu_ps(slot + partial_ld, sum);
      _mm512_storeu_ps(slot + 2 * partial_ld, squares);
    }
  }
};

// dx from dz: mask, sums, multiplier, accumulation; see ConvDgrad.
template <class T, class GradT>
struct DgradEpilogue {
  const T* x;
  int64_t ldx;
  const float *mask_scale, *mask_shift, *mean, *multiply;
  GradT* dx;
  int64_t lddx;
  bool accumulate;
  int columns;
  float* partial;
  int64_t partial_ld;

  MONO_INLINE void prefetch(const int32_t* pixels, int rows, int n0, int panels) const {
    for (int i = 0; i < rows; ++i) {
      if (mask_scale)
        for (int b = 0; b < panels * kPanelColumns; b += int(64 / sizeof(T)))
          __builtin_prefetch(x + pixels[i] * ldx + n0 + b, 0, 3);
      if (!dx) continue;
      for (int b = 0; b < panels * kPanelColumns; b += int(64 / sizeof(GradT)))
        __builtin_prefetch(dx + pixels[i] * lddx + n0 + b, 1, 3);
    }
  }

  template <int kTileN>
  MONO_INLINE void apply(const float* tile, const int32_t* pixels, int rows, int n0, int panels,
                         bool first_rows) const {
    for (int j = 0; j < panels; ++j) {
      const int n = n0 + j * kPanelColumns;
      const __mmask16 mask = first_lanes(columns - n);
      const float* acc = tile + j * kPanelColumns;
      const Vec factor = multiply ? load(multiply + n, mask) : _mm512_set1_ps(1.0f);
      if (!mask_scale) {
        for (int i = 0; i < rows; ++i)
          write(pixels[i], n, mask, _mm512_mul_ps(_mm512_loadu_ps(acc + i * kTileN), factor));
        continue;
      }
      const Vec scale = load(mask_scale + n, mask), shift = load(mask_shift + n, mask);
      const Vec centre = mean ? load(mean + n, mask) : _mm512_setzero_ps();
      Vec sum = _mm512_setzero_ps(), sum_x = _mm512_setzero_ps();
      float* slot = partial ? partial + kPartialHeader + n : nullptr;
      if (slot && !first_rows) {
        sum = _mm512_loadu_ps(slot);
        sum_x = _mm512_loadu_ps(slot + partial_ld);
      }
      for (int i = 0; i < rows; ++i) {
        const Vec xv = load(x + pixels[i] * ldx + n, mask);
        const __mmask16 active =
            _mm512_cmp_ps_mask(_mm512_fmadd_ps(xv, scale, shift), _mm512_setzero_ps(), _CMP_GT_OQ);
        const Vec dz = _mm512_maskz_loadu_ps(active, acc + i * kTileN);
        sum = _mm512_add_ps(sum, dz);
        sum_x = _mm512_fmadd_ps(dz, _mm512_sub_ps(xv, centre), sum_x);
        write(pixels[i], n, mask, _mm512_mul_ps(dz, factor));
      }
      if (slot) {
        _mm512_storeu_ps(slot, sum);
        _mm512_storeu_ps(slot + partial_ld, sum_x);
      }
    }
  }

  MONO_INLINE void write(int64_t pixel, int n, __mmask16 mask, Vec v) const {
    if (!dx) return;
    GradT* p = dx + pixel * lddx + n;
    store(p, mask, accumulate ? _mm512_add_ps(load(p, mask), v) : v);
  }
};

// ---- fprop and dgrad ----

// How many of the remaining panels the next tile takes: never a lone last one if it can be helped.
template <int kPanels>
MONO_INLINE int next_panels(int remaining) {
  if (remaining == kPanels + 1) return (remaining + 1) / 2;
  return remaining < kPanels ? remaining : kPanels;
}

template <class K, class Loader, class Epilogue>
void run_rows_unit(const RowsProblem& p, const RowsUnit& u, const Loader& loader,
                   const Epilogue& epilogue) {
  constexpr int kTileN = K::kPanels * kPanelColumns;
  const typename K::Session session;
  fill_row_tables(p, u);
  pack_rows<K>(p, u, loader);
  const int64_t panel_step = int64_t(p.runs) * p.run_words * kPanelColumns;
  const int64_t run_step = p.layout == ALayout::halo ? p.row_words : 0;
  int64_t run_offsets[kMaxRuns];
  for (int r = 0; r < p.runs; ++r)
    run_offsets[r] = p.layout == ALayout::halo
                         ? r * run_step
                         : int64_t(r % p.stride * p.rows_per_class + r / p.stride) * p.row_words;
  const int row_stride = p.layout == ALayout::halo ? p.stride * p.channel_words : p.pixel_words;
  const int total_panels = (p.columns + kPanelColumns - 1) / kPanelColumns;
  for (int panel = 0; panel < total_panels;) {
    const int panels = next_panels<K::kPanels>(total_panels - panel);
    const int n0 = panel * kPanelColumns;
    const Word* b = u.filter + panel * panel_step;  // (panels, runs*run_words, 16)
    for (int m0 = 0; m0 < u.pixels; m0 += K::kTileM) {
      const int rows = u.pixels - m0 < K::kTileM ? u.pixels - m0 : K::kTileM;
      const Word* starts[K::kTileM / K::kRowGroup];
      for (int i = 0; i < K::kTileM / K::kRowGroup; ++i) {
        const int row = i * K::kRowGroup;
        starts[i] = u.a + u.offsets[m0 + (row < rows ? row : rows - 1)];
      }
      const int groups = (rows + K::kRowGroup - 1) / K::kRowGroup;
      epilogue.prefetch(u.out_pixels + m0, rows, n0, panels);
      K::multiply_rows(panels, starts, row_stride, groups, run_offsets, p.runs, p.run_words, b,
                       panel_step, u.tile);
      epilogue.template apply<kTileN>(u.tile, u.out_pixels + m0, rows, n0, panels, m0 == 0);
    }
    panel += panels;
  }
}

MONO_INLINE int64_t padded_columns(const RowsProblem& p) {
  return (p.columns + kPanelColumns - 1) / kPanelColumns * kPanelColumns;
}

template <class K>
void run_fprop_unit(const RowsProblem& p, const FpropUnit<typename K::T>& u) {
  using T = typename K::T;
  const FpropEpilogue<T> epilogue{u.y, u.ldy, p.columns, u.partial, padded_columns(p)};
  if (u.scale)
    run_rows_unit<K>(p, u.rows, ForwardLoader<T, true>{u.x, u.ldx, u.scale, u.shift}, epilogue);
  else
    run_rows_unit<K>(p, u.rows, ForwardLoader<T, false>{u.x, u.ldx, nullptr, nullptr}, epilogue);
}

template <class K, class GradT>
void run_dgrad_unit(const RowsProblem& p, const DgradUnit<typename K::T, GradT>& u) {
  using T = typename K::T;
  const DgradEpilogue<T, GradT> epilogue{u.x,          u.ldx,      u.mask_scale, u.mask_shift,
                                         u.mean,       u.multiply, u.dx,         u.lddx,
                                         u.accumulate, p.columns,  u.partial,    padded_columns(p)};
  if (u.g)
    run_rows_unit<K>(p, u.rows, ForwardLoader<T, false>{u.g, u.ldg, nullptr, nullptr}, epilogue);
  else
    run_rows_unit<K>(p, u.rows, GradientLoader<T, GradT>{u.gradient}, epilogue);
}

// ---- wgrad ----

// Output rows of a chunk: rows of the whole batch (pointwise) or of one image.
struct ChunkRows {
  int64_t first;  // row of the batch: image * P + p
  int count;
};

template <class T>
MONO_INLINE ChunkRows rows_of_chunk(const WgradProblem<T>& p, int chunk) {
  const int64_t begin = p.pointwise ? int64_t(chunk) * p.chunk_rows
                                    : int64_t(chunk / p.chunks_per_image) * p.P +
                                          chunk % p.chunks_per_image * p.chunk_rows;
  const int64_t limit =
      p.pointwise ? int64_t(p.N) * p.P : (int64_t(chunk / p.chunks_per_image) + 1) * p.P;
  return {begin, int(limit - begin < p.chunk_rows ? limit - begin : p.chunk_rows)};
}

// One source row for one tap column s and one panel of channels: row_words vectors of words.
template <class K, bool kBnRelu>
void pack_z_row(const WgradProblem<typename K::T>& p, int64_t image, int h, int s, int c, Vec scale,
                Vec shift, Word* out) {
  using T = typename K::T;
  if (h < 0 || h >= p.H) return zero_words(out, p.row_words * kPanelColumns);
  const __mmask16 mask = first_lanes(p.C - c);
  const T* row = p.x + (image * p.H + h) * p.W * p.ldx + c;
  const auto element = [&](int q) {
    if (p.tap_channels) {  // S * tap_channels consecutive elements of the row, as far as inside
      const int first = (q * p.stride - p.pad) * p.tap_channels, end = p.W * p.tap_channels - c;
      const __mmask16 before = first + c < 0 ? first_lanes(-first - c) : __mmask16(0);
      const __mmask16 inside = q >= p.Q || end <= first ? __mmask16(0) : first_lanes(end - first);
      return load(row + first, mask & inside & ~before);
    }
    const int w = q * p.stride + s - p.pad;
    if (q >= p.Q || w < 0 || w >= p.W) return _mm512_setzero_ps();
    const Vec v = load(row + w * p.ldx, mask);
    if constexpr (!kBnRelu) return v;
    return relu(_mm512_fmadd_ps(v, scale, shift));
  };
  for (int word = 0; word < p.row_words; ++word, out += kPanelColumns) {
    const int q = word * K::kPack;
    const Vec first = element(q);
    const Vec second = K::kPack == 2 ? element(q + 1) : first;
    _mm512_storeu_ps(out, words_of<T>(first, second));
  }
}

template <class K, bool kBnRelu>
void pack_z(const WgradProblem<typename K::T>& p, const WgradUnit& u, ChunkRows rows, Word* z) {
  const int64_t panel_step = p.copies * p.copy_words * kPanelColumns;
  for (int c = u.channel_begin; c < u.channel_end; c += kPanelColumns) {
    const __mmask16 mask = first_lanes(p.C - c);
    Word* panel = z + (c - u.channel_begin) / kPanelColumns * panel_step;
    const int source_rows = p.pointwise ? rows.count : (rows.count - 1) * p.stride + p.R;
    for (int s = 0; s < p.S; ++s)
      for (int j = 0; j < source_rows; ++j) {
        if (j % p.stride >= p.R) continue;  // between the taps
        const int64_t image = p.pointwise ? (rows.first + j) / p.P : rows.first / p.P;
        const int h = p.pointwise ? int((rows.first + j) % p.P)
                                  : int(rows.first % p.P) * p.stride - p.pad + j;
        const int copy = s * p.stride + j % p.stride;
        Word* out =
            panel + (copy * p.copy_words + int64_t(j / p.stride) * p.row_words) * kPanelColumns;
        Vec scale = _mm512_setzero_ps(), shift = _mm512_setzero_ps();
        if constexpr (kBnRelu) {
          int segment = 0;
          while (image >= p.segment_offsets[segment + 1]) ++segment;
          scale = load(p.scale + int64_t(segment) * p.C + c, mask);
          shift = load(p.shift + int64_t(segment) * p.C + c, mask);
        }
        pack_z_row<K, kBnRelu>(p, image, h, s, c, scale, shift, out);
      }
    // What the padded end of a chunk reads behind the last row of a copy.
    for (int copy = 0; copy < p.copies; ++copy) {
      const int in_copy = (source_rows - copy % p.stride + p.stride - 1) / p.stride;
      zero_words(panel + (copy * p.copy_words + int64_t(in_copy) * p.row_words) * kPanelColumns,
                 K::kWordAlign > 1 ? K::kWordAlign * kPanelColumns : 0);
    }
  }
}

// Fetches the operands of the next chunk into the L2 cache, a few pixels beside each tile: they are
// slices of a pixel's channels, which the hardware's prefetchers do not follow.
template <class T>
struct ChunkPrefetch {
  const char *x = nullptr, *g = nullptr;  // of the next pixel
  int64_t x_step = 0, g_step = 0;         // bytes
  int x_lines = 0, g_lines = 0;
  int pixels = 0, per_tile = 0;

  ChunkPrefetch(const WgradProblem<T>& p, const WgradUnit& u, int chunk, bool with_g, int tiles) {
    if (chunk >= u.chunk_end || p.tap_channels) return;
    const ChunkRows rows = rows_of_chunk(p, chunk);
    const int64_t image = rows.first / p.P, row = rows.first % p.P;
    int64_t h = row * p.stride - p.pad;
    if (h < 0) h = 0;
    const int64_t last = int64_t(p.N) * p.H * p.W - (image * p.H + h) * p.W;
    pixels = rows.count * p.stride * p.W * p.chunks_at_once;
    if (pixels > last) pixels = int(last);
    x_step = p.ldx * int64_t(sizeof(T));
    x = (const char*)(p.x + (image * p.H + h) * p.W * p.ldx + u.channel_begin);
    x_lines = int((u.channel_end - u.channel_begin) * sizeof(T) + 63) / 64;
    if (with_g && p.stride == 1) {
      g = (const char*)(p.g + rows.first * p.Q * p.ldg);
      g_step = p.ldg * int64_t(sizeof(T));
      g_lines = int(p.K * sizeof(T) + 63) / 64;
      const int64_t g_pixels = (int64_t(p.N) * p.P - rows.first) * p.Q;
      if (g_pixels < pixels) pixels = int(g_pixels);
    }
    per_tile = (pixels + tiles - 1) / tiles;
  }

  MONO_INLINE void step() {
    for (int i = 0; i < per_tile && pixels > 0; ++i, --pixels, x += x_step, g += g_step) {
      for (int line = 0; line < x_lines; ++line) _mm_prefetch(x + 64 * line, _MM_HINT_T1);
      for (int line = 0; line < g_lines; ++line) _mm_prefetch(g + 64 * line, _MM_HINT_T1);
    }
  }
};

template <class K>
void run_wgrad_unit(const WgradProblem<typename K::T>& p, const WgradUnit& u) {
  constexpr int kTileN = K::kPanels * kPanelColumns;
  const typename K::Session session;
  const int64_t panel_step = p.copies * p.copy_words * kPanelColumns;
  const int64_t dw_ld = int64_t(p.R) * p.S * p.C;
  const int unit_panels = (u.channel_end - u.channel_begin + kPanelColumns - 1) / kPanelColumns;
  OuterOperands operands{};
  operands.g_step = K::gradient_step(p);
  operands.g_ld = K::gradient_ld(p);
  operands.z_step = unit_panels * panel_step;
  operands.panel_step = panel_step;
  for (int chunk = u.chunk_begin; chunk < u.chunk_end; chunk += operands.chunks) {
    operands.chunks =
        u.chunk_end - chunk < p.chunks_at_once ? u.chunk_end - chunk : p.chunks_at_once;
    const ChunkRows rows = rows_of_chunk(p, chunk);
    for (int i = 0; i < operands.chunks; ++i) {
      Word* z = u.z + i * operands.z_step;
      if (p.scale)
        pack_z<K, true>(p, u, rows_of_chunk(p, chunk + i), z);
      else
        pack_z<K, false>(p, u, rows_of_chunk(p, chunk + i), z);
    }
    const int used = rows.count * p.row_words;
    operands.words = (used + K::kWordAlign - 1) / K::kWordAlign * K::kWordAlign;
    const bool add = u.accumulate || chunk > u.chunk_begin;
    const int tiles = (p.K + K::kTileM - 1) / K::kTileM * p.R * p.S *
                      ((unit_panels + K::kPanels - 1) / K::kPanels);
    ChunkPrefetch<typename K::T> next(p, u, chunk + operands.chunks, !p.packed_g, tiles);
    for (int panel = 0; panel < unit_panels;) {
      const int panels = next_panels<K::kPanels>(unit_panels - panel);
      for (int tap = 0; tap < p.R * p.S; ++tap) {
        const int r = tap / p.S, s = tap % p.S;
        const int64_t copy = s * p.stride + r % p.stride;
        operands.z = u.z + panel * panel_step +
                     (copy * p.copy_words + int64_t(r / p.stride) * p.row_words) * kPanelColumns;
        for (int k0 = 0; k0 < p.K; k0 += K::kTileM) {
          const int filters = p.K - k0 < K::kTileM ? p.K - k0 : K::kTileM;
          next.step();
          operands.g = K::gradient_of(p, chunk, rows.first, k0);
          K::multiply_outer(panels, filters, operands, u.tile);
          for (int i = 0; i < filters; ++i)
            for (int j = 0; j < panels; ++j) {
              const int c = u.channel_begin + (panel + j) * kPanelColumns;
              const __mmask16 mask = first_lanes(p.C - c);
              float* out = u.dw + (k0 + i) * dw_ld + int64_t(tap) * p.C + c;
              const Vec v = _mm512_loadu_ps(u.tile + i * kTileN + j * kPanelColumns);
              store(out, mask, add ? _mm512_add_ps(load(out, mask), v) : v);
            }
        }
      }
      panel += panels;
    }
  }
}

// Word `word` of a chunk of g, for 16 filters from k: elements of two neighbouring pixels of a row.
template <class T>
MONO_INLINE Vec gradient_words(const WgradProblem<T>& p, ChunkRows rows, int word, int k,
                               __mmask16 mask) {
  const int row = word / p.row_words, q = word % p.row_words * 2;
  if (row >= rows.count) return _mm512_setzero_ps();
  const T* g = p.g + ((rows.first + row) * p.Q + q) * p.ldg + k;
  return words_of<T>(load(g, mask), q + 1 < p.Q ? load(g + p.ldg, mask) : _mm512_setzero_ps());
}

}  // namespace
}  // namespace mono::implicit_gemm
