// Attention of one head on AMX tiles: bf16 products of 32 x 32 blocks, softmax between them in
// vectors of 16 floats. Forward takes strips of queries, since its sums run along keys; backward
// takes strips of keys and computes the transposes of P and dS, so that dk and dv are finished
// strip by strip and only dq is added to.
#include "kernels/attention/attention_tiles.h"
#include "kernels/base/amx_tiles.h"
#include "kernels/base/words_avx512.h"

namespace mono::attention_tiles {
namespace {

constexpr int kTile = kAmxTile;
constexpr int kTileElements = 512;  // bf16 of one

// Tiles 0-3: accumulators (row half, column half); 4, 5: left operand; 6, 7: right operand.
// c (32, 32) = (added to where `add`) a (32, 32 steps) b (32 steps, 32). a: rows a_bytes apart, the
// lower 16 rows a_half elements behind the upper; b: two panels of tiles, b_half elements apart.
template <bool add>
MONO_INLINE void product(const bf16* a, int64_t a_bytes, int64_t a_half, int steps, const bf16* b,
                         int64_t b_half, float* c, int64_t ldc) {
  const int64_t bytes = ldc * int64_t(sizeof(float));
  if constexpr (add) {
    _tile_loadd(0, c, bytes);
    _tile_loadd(1, c + kTile, bytes);
    _tile_loadd(2, c + kTile * ldc, bytes);
    _tile_loadd(3, c + kTile * ldc + kTile, bytes);
  } else {
    _tile_zero(0);
    _tile_zero(1);
    _tile_zero(2);
    _tile_zero(3);
  }
  for (int k = 0; k < steps; ++k) {
    _tile_loadd(6, b + k * kTileElements, 64);
    _tile_loadd(4, a + k * 2 * kTile, a_bytes);
    _tile_loadd(7, b + b_half + k * kTileElements, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_loadd(5, a + a_half + k * 2 * kTile, a_bytes);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_stored(0, c, bytes);
  _tile_stored(1, c + kTile, bytes);
  _tile_stored(2, c + kTile * ldc, bytes);
  _tile_stored(3, c + kTile * ldc + kTile, bytes);
}

// c (32, n) = a (32, k) b (k, n); a row-major and packed, b in tiles.
MONO_INLINE void strip_product(int n, int k, const bf16* a, const bf16* b, float* c) {
  for (int column = 0; column < n; column += kStrip)
    product<false>(a, int64_t(k) * sizeof(bf16), int64_t(kTile) * k, k / 32,
                   b + int64_t(column) * k, int64_t(kTile) * k, c + column, n);
}

// ---- vectors ----

MONO_INLINE __mmask16 lanes(int count) {
  return count >= 16 ? __mmask16(0xffff) : count <= 0 ? __mmask16(0) : __mmask16((1u << count) - 1);
}
MONO_INLINE Vec widen(__m256i bits) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
}
MONO_INLINE __m256i narrow(Vec v) {
  return (__m256i)_mm512_cvtneps_pbh(v);
}

// 2^x within 2 units in the last place, 0 far below; NaN of NaN. The polynomial is exp's (Cephes)
// at x ln 2 on [-1/2, 1/2].
MONO_INLINE Vec exp2_of(Vec x) {
  const Vec n = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  const Vec r = _mm512_mul_ps(_mm512_sub_ps(x, n), _mm512_set1_ps(0.693147181f));
  Vec p = _mm512_fmadd_ps(r, _mm512_set1_ps(1.9875691500e-4f), _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_add_ps(_mm512_fmadd_ps(p, _mm512_mul_ps(r, r), r), _mm512_set1_ps(1.0f));
  return _mm512_scalef_ps(p, n);
}
constexpr float kLog2E = 1.44269504f;

// ---- packing ----

// x (T, head_dim), rows ld apart -> rows (t, d), padded with zeros.
void pack_rows(const Extents& e, const bf16* x, int64_t ld, bf16* rows) {
  for (int row = 0; row < e.t; ++row)
    for (int c = 0; c < e.d; c += 32) {
      const int inside = row < e.T ? e.head_dim - c : 0;
      const __mmask32 mask = inside >= 32  ? __mmask32(0xffffffffu)
                             : inside <= 0 ? __mmask32(0)
                                           : __mmask32((1u << inside) - 1);
      const bf16* from = inside > 0 ? x + row * ld + c : x;
      _mm512_storeu_si512(rows + int64_t(row) * e.d + c, _mm512_maskz_loadu_epi16(mask, from));
    }
}

void pack_words(const Extents& e, const bf16* rows, bf16* words) {
  for (int token = 0; token < e.t; token += kTile)
    for (int c = 0; c < e.d; c += 32, words += kTileElements) {
      Vec in[16];
      for (int i = 0; i < kTile; ++i) in[i] = _mm512_loadu_ps(rows + int64_t(token + i) * e.d + c);
      store_transposed(in, reinterpret_cast<float*>(words));
    }
}

void pack_pairs(const Extents& e, const bf16* rows, bf16* pairs) {
  for (int c = 0; c < e.d; c += kTile)
    for (int token = 0; token < e.t; token += 2, pairs += 2 * kTile) {
      const auto half = [&](int row) {
        const bf16* from = rows + int64_t(row) * e.d + c;
        return _mm512_cvtepu16_epi32(_mm256_loadu_si256((const __m256i*)from));
      };
      _mm512_storeu_si512(pairs,
                          _mm512_or_si512(half(token), _mm512_slli_epi32(half(token + 1), 16)));
    }
}

// x (rows, d) * factor of the row -> y (rows, head_dim), rows ld apart.
MONO_INLINE void store_rows(const Extents& e, int rows, const float* x, const float* factors,
                            float factor, bf16* y, int64_t ld, bool add) {
  for (int row = 0; row < rows; ++row) {
    const Vec by = _mm512_set1_ps(factors ? factors[row] : factor);
    for (int c = 0; c < e.head_dim; c += kTile) {
      const __mmask16 mask = lanes(e.head_dim - c);
      Vec value = _mm512_mul_ps(by, _mm512_loadu_ps(x + int64_t(row) * e.d + c));
      bf16* to = y + row * ld + c;
      if (add) value = _mm512_add_ps(value, widen(_mm256_maskz_loadu_epi16(mask, to)));
      _mm256_mask_storeu_epi16(to, mask, narrow(value));
    }
  }
}

// ---- softmax ----

// A row of scores (t) -> exp(scale s - highest) in bf16, zeros from T on. Returns their sum and, in
// `highest`, the largest scale s.
MONO_INLINE float softmax_row(const Extents& e, const float* s, bf16* p, float& highest) {
  Vec most = _mm512_set1_ps(-__builtin_inff());
  for (int c = 0; c < e.T; c += kTile)
    most = _mm512_mask_max_ps(most, lanes(e.T - c), most, _mm512_loadu_ps(s + c));
  highest = _mm512_reduce_max_ps(most) * e.scale;
  const Vec by = _mm512_set1_ps(e.scale * kLog2E), shift = _mm512_set1_ps(highest * kLog2E);
  Vec sum = _mm512_setzero_ps();
  const auto exponentials = [&](int c) {
    const Vec value = exp2_of(_mm512_fmsub_ps(by, _mm512_loadu_ps(s + c), shift));
    return _mm512_maskz_mov_ps(lanes(e.T - c), value);
  };
  for (int c = 0; c < e.t; c += 2 * kTile) {
    const Vec first = exponentials(c), second = exponentials(c + kTile);
    sum = _mm512_add_ps(sum, _mm512_add_ps(first, second));
    _mm512_storeu_si512(p + c, (__m512i)_mm512_cvtne2ps_pbh(second, first));
  }
  return _mm512_reduce_add_ps(sum);
}

// Strips (kStrip keys from `begin`, t queries): scores and dp -> p, ds (without scale) and ds
// transposed. Rows of keys from T on become zero.
MONO_INLINE void gradient_strip(const Backward& h, int begin) {
  const Extents& e = h.extents;
  const Vec by = _mm512_set1_ps(e.scale * kLog2E);
  for (int c = 0; c < e.t; c += kTile) {
    const Vec shift = _mm512_loadu_ps(h.lse_of_2 + c), mean = _mm512_loadu_ps(h.delta + c);
    const auto gradient = [&](int row) {
      const int64_t at = int64_t(row) * e.t + c;
      const __mmask16 inside = begin + row < e.T ? 0xffff : 0;
      const Vec p = _mm512_maskz_mov_ps(
          inside, exp2_of(_mm512_fmsub_ps(by, _mm512_loadu_ps(h.s + at), shift)));
      const Vec ds =
          _mm512_maskz_mul_ps(inside, p, _mm512_sub_ps(_mm512_loadu_ps(h.dp + at), mean));
      const __m256i rounded = narrow(ds);
      _mm256_storeu_si256((__m256i*)(h.p + at), narrow(p));
      _mm256_storeu_si256((__m256i*)(h.ds + at), rounded);
      return _mm512_cvtepu16_epi32(rounded);
    };
    Vec words[16];  // (16 pairs of keys, 16 queries)
    for (int i = 0; i < kTile; ++i) {
      const __m512i first = gradient(2 * i), second = gradient(2 * i + 1);
      words[i] = _mm512_castsi512_ps(_mm512_or_si512(first, _mm512_slli_epi32(second, 16)));
    }
    store_transposed(words, reinterpret_cast<float*>(h.ds_tiles + int64_t(c) * 32));
  }
}

// lse / ln 2, and delta = rowsum(dout * out); beyond T what makes P and dS zero.
MONO_INLINE void row_tables(const Backward& h) {
  const Extents& e = h.extents;
  for (int i = 0; i < e.t; ++i) {
    Vec sum = _mm512_setzero_ps();
    for (int c = 0; i < e.T && c < e.head_dim; c += kTile) {
      const __mmask16 mask = lanes(e.head_dim - c);
      const int64_t at = i * e.ld_out + c;
      sum = _mm512_fmadd_ps(widen(_mm256_maskz_loadu_epi16(mask, h.out + at)),
                            widen(_mm256_maskz_loadu_epi16(mask, h.dout + at)), sum);
    }
    h.delta[i] = _mm512_reduce_add_ps(sum);
    h.lse_of_2[i] = i < e.T ? h.lse[i] * kLog2E : 1e30f;
  }
}

}  // namespace

void forward_head(const Forward& h) {
  const Extents& e = h.extents;
  const AmxSession session;
  pack_rows(e, h.k, e.ld_qkv, h.rows);
  pack_words(e, h.rows, h.k_words);
  pack_rows(e, h.v, e.ld_qkv, h.rows);
  pack_pairs(e, h.rows, h.v_pairs);
  pack_rows(e, h.q, e.ld_qkv, h.rows);
  for (int begin = 0; begin < e.T; begin += kStrip) {
    const int rows = e.T - begin < kStrip ? e.T - begin : kStrip;
    strip_product(e.t, e.d, h.rows + int64_t(begin) * e.d, h.k_words, h.s);
    float inverse_sums[kStrip];
    for (int row = 0; row < kStrip; ++row) {
      float highest;
      const int64_t at = int64_t(row) * e.t;
      const float sum = softmax_row(e, h.s + at, h.p + at, highest);
      inverse_sums[row] = 1 / sum;
      if (h.lse && row < rows) h.lse[begin + row] = highest + __builtin_logf(sum);
    }
    strip_product(e.d, e.t, h.p, h.v_pairs, h.sum);
    store_rows(e, rows, h.sum, inverse_sums, 1, h.out + begin * e.ld_out, e.ld_out, false);
  }
}

void backward_head(const Backward& h) {
  const Extents& e = h.extents;
  const AmxSession session;
  pack_rows(e, h.k, e.ld_qkv, h.k_rows);
  pack_pairs(e, h.k_rows, h.k_pairs);
  pack_rows(e, h.v, e.ld_qkv, h.v_rows);
  pack_rows(e, h.q, e.ld_qkv, h.rows);
  pack_words(e, h.rows, h.q_words);
  pack_pairs(e, h.rows, h.q_pairs);
  pack_rows(e, h.dout, e.ld_out, h.rows);
  pack_words(e, h.rows, h.dout_words);
  pack_pairs(e, h.rows, h.dout_pairs);
  row_tables(h);
  for (int64_t i = 0; i < int64_t(e.t) * e.d; ++i) h.dq_sum[i] = 0;

  for (int begin = 0; begin < e.T; begin += kStrip) {
    const int rows = e.T - begin < kStrip ? e.T - begin : kStrip;
    const int64_t packed = int64_t(begin) * e.d, at = begin * e.ld_qkv;
    strip_product(e.t, e.d, h.k_rows + packed, h.q_words, h.s);
    strip_product(e.t, e.d, h.v_rows + packed, h.dout_words, h.dp);
    gradient_strip(h, begin);
    strip_product(e.d, e.t, h.p, h.dout_pairs, h.sum);
    store_rows(e, rows, h.sum, nullptr, 1, h.dv + at, e.ld_qkv, h.accumulate);
    strip_product(e.d, e.t, h.ds, h.q_pairs, h.sum);
    store_rows(e, rows, h.sum, nullptr, e.scale, h.dk + at, e.ld_qkv, h.accumulate);
    for (int query = 0; query < e.t; query += kStrip)
      for (int c = 0; c < e.d; c += kStrip)
        product<true>(h.ds_tiles + int64_t(query) * 32, 64, kTileElements, 1,
                      h.k_pairs + int64_t(c) * e.t + int64_t(begin) * kTile, int64_t(kTile) * e.t,
                      h.dq_sum + int64_t(query) * e.d + c, e.d);
  }
  store_rows(e, e.T, h.dq_sum, nullptr, e.scale, h.dq, e.ld_qkv, h.accumulate);
}

}  // namespace mono::attention_tiles
