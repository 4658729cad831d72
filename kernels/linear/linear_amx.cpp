// AmxEngine: bf16 in 2 x 2 tiles of 16 x 16 float accumulators. A tile of A is 16 rows of 16 words
// (two neighbours of the reduction), as they lie or packed; one of B is 16 words of 16 columns.
//
// A panel of B is a sequence of steps of 32 of the reduction: two tiles, 2 KB. Sums run in blocks
// of kBlock steps, so that a block of the panel, 24 KB, stays in the first-level cache while the
// rows of A pass; blocks add up in the tile registers through C.
#include "kernels/base/amx_tiles.h"
#include "kernels/base/words_avx512.h"
#include "kernels/linear/linear_engine.h"

namespace mono {
namespace {

constexpr int kTile = kAmxTile;
constexpr int kStep = 2 * kTile;          // of the reduction
constexpr int kTileSize = kTile * kStep;  // elements: 1 KB
constexpr int kBlock = 12;                // steps

// Where the tiles of A lie: bytes from a row to the next, elements from a step to the next.
struct Layout {
  int64_t row_bytes, step;
};

// C of one or two groups of 16 rows by 32 columns; ldc in elements.
// Tiles 0-3: accumulators (row group, half of the panel); 4, 5: A of the groups; 6, 7: B's halves.
template <int groups>
MONO_INLINE void product(int steps, const bf16* a0, const bf16* a1, const Layout& layout,
                         const bf16* b, float* c, int64_t ldc, bool add) {
  const int64_t c_bytes = ldc * int64_t{sizeof(float)};
  float* const c1 = c + kTile * ldc;
  if (add) {
    _tile_loadd(0, c, c_bytes);
    _tile_loadd(1, c + kTile, c_bytes);
    if constexpr (groups == 2) {
      _tile_loadd(2, c1, c_bytes);
      _tile_loadd(3, c1 + kTile, c_bytes);
    }
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int k = 0; k < steps; ++k, a0 += layout.step, a1 += layout.step, b += 2 * kTileSize) {
    _tile_loadd(6, b, 64);
    _tile_loadd(4, a0, layout.row_bytes);
    _tile_loadd(7, b + kTileSize, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (groups == 2) {
      _tile_loadd(5, a1, layout.row_bytes);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + kTile, c_bytes);
  if constexpr (groups == 2) {
    _tile_stored(2, c1, c_bytes);
    _tile_stored(3, c1 + kTile, c_bytes);
  }
}

// Lane i: the bf16 of first[i] and of second[i], first in the low half.
MONO_INLINE __m512i pairs_of(Vec first, Vec second) {
  return (__m512i)words_of<bf16>(first, second);
}
MONO_INLINE __m512i pairs_of(__m256i first, __m256i second) {
  return _mm512_or_si512(_mm512_cvtepu16_epi32(first),
                         _mm512_slli_epi32(_mm512_cvtepu16_epi32(second), 16));
}
MONO_INLINE __mmask16 lanes(int count) {
  return count <= 0 ? __mmask16(0) : first_lanes(count);
}

}  // namespace

// Words of 16 rows of w, transposed.
void AmxEngine::pack_transposed(const float* w, int out, int in, int n, bf16* panel) {
  for (int k = 0; k < in; k += kStep)
    for (int half = 0; half < 2; ++half, panel += kTileSize) {
      Vec rows[kTile];
      for (int i = 0; i < kTile; ++i) {
        const int row = n + half * kTile + i;
        const float* from = w + int64_t{row} * in + k;
        const Vec low = row < out ? load(from, lanes(in - k)) : _mm512_setzero_ps();
        const Vec high = row < out ? load(from + kTile, lanes(in - k - kTile)) : low;
        rows[i] = _mm512_castsi512_ps((__m512i)_mm512_cvtne2ps_pbh(high, low));
      }
      store_transposed(rows, reinterpret_cast<float*>(panel));
    }
}

// Words of pairs of rows of w.
void AmxEngine::pack(const float* w, int out, int in, int n, bf16* panel) {
  for (int k = 0; k < out; k += kStep)
    for (int half = 0; half < 2; ++half) {
      const int column = n + half * kTile;
      const __mmask16 mask = lanes(in - column);
      for (int pair = 0; pair < kTile; ++pair, panel += kStep) {
        const int row = k + 2 * pair;
        const float* from = w + int64_t{row} * in + column;
        const Vec first = row < out ? load(from, mask) : _mm512_setzero_ps();
        const Vec second = row + 1 < out ? load(from + in, mask) : _mm512_setzero_ps();
        _mm512_storeu_si512(panel, pairs_of(first, second));
      }
    }
}

void AmxEngine::multiply(int rows, const bf16* a, int64_t lda, int inner, const bf16* panel,
                         float* c, int64_t ldc) {
  const AmxSession session;
  const Layout layout{lda * int64_t{sizeof(bf16)}, kStep};
  const int steps = (inner + kStep - 1) / kStep;
  for (int first = 0; first < steps; first += kBlock) {
    const int block = steps - first < kBlock ? steps - first : kBlock;
    const bf16* const from = a + int64_t{first} * kStep;
    const bf16* const b = panel + int64_t{first} * 2 * kTileSize;
    for (int r = 0; r < rows; r += 2 * kTile) {
      const bf16* const a0 = from + r * lda;
      if (rows - r > kTile)
        product<2>(block, a0, a0 + kTile * lda, layout, b, c + r * ldc, ldc, first > 0);
      else
        product<1>(block, a0, a0, layout, b, c + r * ldc, ldc, first > 0);
    }
  }
}

// Tiles (16 filters, 16 words of pairs of rows): of all steps of a chunk, filters by 16. Two tiles
// at a time, so that a row's 64 bytes are read at once.
void AmxEngine::pack_gradient(const GradientRows<bf16>& p, int chunk, int row, bf16* g) {
  const int64_t filters_step = round_up(chunk, kStep) * kTile;
  for (int o = 0; o < p.out; o += 2 * kTile) {
    const __mmask16 masks[2] = {lanes(p.out - o), lanes(p.out - o - kTile)};
    const int tiles = masks[1] ? 2 : 1;
    Vec sums[2] = {_mm512_setzero_ps(), _mm512_setzero_ps()};
    bf16* const to = g + o / kTile * filters_step + int64_t{row} * kTile;
    for (int k = 0; k < p.rows; k += kStep) {
      Vec words[2][kTile];
      for (int pair = 0; pair < kTile; ++pair) {
        const int r = k + 2 * pair;
        for (int t = 0; t < tiles; ++t) {
          const bf16* const from = p.dy + int64_t{r} * p.out + o + t * kTile;
          __m256i rows[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
          for (int i = 0; i < 2; ++i)
            if (r + i < p.rows) {
              rows[i] = _mm256_maskz_loadu_epi16(masks[t], from + i * p.out);
              if (p.factors)
                rows[i] = (__m256i)_mm512_cvtneps_pbh(
                    _mm512_mul_ps(widen(rows[i]), _mm512_set1_ps(p.factors[r + i])));
            }
          const __m512i both = pairs_of(rows[0], rows[1]);
          words[t][pair] = _mm512_castsi512_ps(both);
          const Vec low = _mm512_castsi512_ps(_mm512_slli_epi32(both, 16));
          const Vec high = _mm512_castsi512_ps(
              _mm512_and_si512(both, _mm512_set1_epi32(static_cast<int>(0xffff0000u))));
          sums[t] = _mm512_add_ps(sums[t], _mm512_add_ps(low, high));
        }
      }
      for (int t = 0; t < tiles; ++t)
        store_transposed(words[t],
                         reinterpret_cast<float*>(to + t * filters_step + int64_t{k} * kTile));
    }
    if (!p.sums) continue;
    for (int t = 0; t < tiles; ++t) store(p.sums + o + t * kTile, masks[t], sums[t]);
  }
}

void AmxEngine::pack_z(int rows, int columns, const bf16* z, int64_t ldz, int row, bf16* panel) {
  const __mmask16 low = lanes(columns), high = lanes(columns - kTile);
  bf16* to = panel + int64_t{row} * kPanel;
  for (int k = 0; k < rows; k += kStep, to += 2 * kTileSize)
    for (int pair = 0; pair < kTile; ++pair) {
      const int r = k + 2 * pair;
      const bf16* const from = z + r * ldz;
      __m256i first[2] = {_mm256_setzero_si256(), _mm256_setzero_si256()};
      __m256i second[2] = {first[0], first[0]};
      if (r < rows) {
        first[0] = _mm256_maskz_loadu_epi16(low, from);
        first[1] = _mm256_maskz_loadu_epi16(high, from + kTile);
      }
      if (r + 1 < rows) {
        second[0] = _mm256_maskz_loadu_epi16(low, from + ldz);
        second[1] = _mm256_maskz_loadu_epi16(high, from + ldz + kTile);
      }
      _mm512_storeu_si512(to + pair * kStep, pairs_of(first[0], second[0]));
      _mm512_storeu_si512(to + kTileSize + pair * kStep, pairs_of(first[1], second[1]));
    }
}

void AmxEngine::multiply_outer(int chunk, int first, int outs, int columns, const bf16* g,
                               const bf16* panel, float* dw, int64_t lddw, bool accumulate) {
  const AmxSession session;
  constexpr Layout layout{64, kTileSize};
  const int steps = static_cast<int>(round_up(chunk, kStep) / kStep);
  const int64_t filters_step = int64_t{steps} * kTileSize;
  for (int o = 0; o < outs; o += 2 * kTile) {
    const bf16* const a = g + int64_t{(first + o) / kTile} * filters_step;
    float* const to = dw + o * lddw;
    const int filters = outs - o < 2 * kTile ? outs - o : 2 * kTile;
    if (columns == kPanel && (filters == 2 * kTile || filters == kTile)) {
      if (filters == kTile)
        product<1>(steps, a, a, layout, panel, to, lddw, accumulate);
      else
        product<2>(steps, a, a + filters_step, layout, panel, to, lddw, accumulate);
      continue;
    }
    alignas(64) float c[2 * kTile * kPanel];
    if (filters > kTile)
      product<2>(steps, a, a + filters_step, layout, panel, c, kPanel, false);
    else
      product<1>(steps, a, a, layout, panel, c, kPanel, false);
    for (int i = 0; i < filters; ++i)
      for (int j = 0; j < columns; j += kTile) {
        const __mmask16 mask = lanes(columns - j);
        const Vec v = _mm512_loadu_ps(c + i * kPanel + j);
        float* const at = to + i * lddw + j;
        store(at, mask, accumulate ? _mm512_add_ps(load(at, mask), v) : v);
      }
  }
}

}  // namespace mono
