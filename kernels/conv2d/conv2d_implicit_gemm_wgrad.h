// The vector half of implicit_gemm: units of wgrad, shared by its instruction-set levels. What a
// MicroKernel is: conv2d_implicit_gemm_rows.h.
//
// dw is filters by channels: rows of a tile are filters (g, read or packed once for all units),
// columns are channels (z, packed by each unit chunk by chunk, once per filter column s: then the
// words of a chunk are contiguous for every tap).
#pragma once

#include "kernels/conv2d/conv2d_implicit_gemm_vector.h"

namespace mono::implicit_gemm {
namespace {

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
