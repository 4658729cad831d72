// The vector half of implicit_gemm: units of fprop and dgrad, shared by its instruction-set levels.
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
//   multiply_rows(panels, starts, row_stride, groups, run_offsets, runs, words, b, panel_step, t)
//                       tile (M,N) = A (M, runs*words) * B (runs*words, N), A in the unit's scratch
//   multiply_outer(panels, filters, operands, tile)
//                       tile (M,N) = g^T (M, words) * z (words, N), M being filters
//   gradient_of(problem, chunk, first_row, k0), gradient_step(problem), gradient_ld(problem)
//                       g for multiply_outer
//
// The accumulators of a tile pass through a small buffer in the L1 cache: 24 stores and loads
// against 24 * words multiplications, and in return every level shares every epilogue.
#pragma once

#include "kernels/conv2d/conv2d_implicit_gemm_vector.h"

namespace mono::implicit_gemm {
namespace {

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

// y and its moments: sums of y - shift and its square, shift being the mean of the unit's first
// tile.
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
      Vec shift, sum = _mm512_setzero_ps(), squares = sum;
      if (first_rows) {
        Vec mean = _mm512_setzero_ps();
        for (int i = 0; i < rows; ++i)
          mean =
              _mm512_fmadd_ps(_mm512_loadu_ps(acc + i * kTileN), _mm512_set1_ps(1.0f / rows), mean);
        shift = rounded(mean, y);
        _mm512_storeu_ps(slot, shift);
      } else {
        shift = _mm512_loadu_ps(slot);
      }
      for (int i = 0; i < rows; ++i) {
        const Vec v = _mm512_loadu_ps(acc + i * kTileN);
        store(y + pixels[i] * ldy + n, mask, v);
        const Vec d = _mm512_sub_ps(rounded(v, y), shift);
        sum = _mm512_add_ps(sum, d);
        squares = _mm512_fmadd_ps(d, d, squares);
      }
      if (!first_rows) {  // the tile's sums first, then theirs: two short chains of roundings
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(slot + partial_ld));
        squares = _mm512_add_ps(squares, _mm512_loadu_ps(slot + 2 * partial_ld));
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
      for (int i = 0; i < rows; ++i) {
        const Vec xv = load(x + pixels[i] * ldx + n, mask);
        const __mmask16 active =
            _mm512_cmp_ps_mask(_mm512_fmadd_ps(xv, scale, shift), _mm512_setzero_ps(), _CMP_GT_OQ);
        const Vec dz = _mm512_maskz_loadu_ps(active, acc + i * kTileN);
        sum = _mm512_add_ps(sum, dz);
        sum_x = _mm512_fmadd_ps(dz, _mm512_sub_ps(xv, centre), sum_x);
        write(pixels[i], n, mask, _mm512_mul_ps(dz, factor));
      }
      if (slot && !first_rows) {
        sum = _mm512_add_ps(sum, _mm512_loadu_ps(slot));
        sum_x = _mm512_add_ps(sum_x, _mm512_loadu_ps(slot + partial_ld));
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
  int64_t run_offsets[kMaxRuns];
  for (int r = 0; r < p.runs; ++r)
    run_offsets[r] = p.layout == ALayout::halo
                         ? int64_t(r) * p.row_words
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

}  // namespace
}  // namespace mono::implicit_gemm
