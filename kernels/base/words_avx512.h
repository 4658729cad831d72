// 16 floats at a time, from and to float or bf16, and words: 32 bits along a reduction, a float or
// two bf16, which is what the AVX-512 and AMX levels of matrix products multiply. For sources of
// those levels (x_avx512.cpp, x_avx512bf16.cpp, x_amx.cpp) only; everything is in an unnamed
// namespace, so no two levels share code.
#pragma once

#include <immintrin.h>

#include "kernels/base/bf16.h"

#define MONO_INLINE inline __attribute__((always_inline))

namespace mono {
namespace {

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
MONO_INLINE void store_transposed(const Vec (&in)[16], float* out) {
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

}  // namespace
}  // namespace mono
