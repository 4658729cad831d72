// Explicit vectors for `x.simd.cpp` sources whose loops need registers, tiles or masks: the same
// code for SSE2, AVX2 and AVX-512. Where a plain loop vectorises, kernels/base/simd.h is enough;
// the two may be included together.
//
// Products and sums written with operators are never contracted; `fma` is fused where the level has
// it. A second argument n of vload and the third of vstore: only the first n lanes, in bounds.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "kernels/base/bf16.h"
#include "kernels/base/simd.h"

namespace mono::MONO_ISA {

// The vector type and lane count of an accumulation type.
template <class M>
struct VecOf;

#if MONO_ISA_avx512

using VecF = __m512;
using VecD = __m512d;
MONO_INLINE VecF vload(const float* p) {
  return _mm512_loadu_ps(p);
}
MONO_INLINE VecD vload(const double* p) {
  return _mm512_loadu_pd(p);
}
MONO_INLINE VecF widen(__m256i v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
}
MONO_INLINE VecF vload(const bf16* p) {
  return widen(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
MONO_INLINE VecF vload(const float* p, int n) {
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1), p);
}
MONO_INLINE VecD vload(const double* p, int n) {
  return _mm512_maskz_loadu_pd(static_cast<__mmask8>((1u << n) - 1), p);
}
MONO_INLINE VecF vload(const bf16* p, int n) {
  return widen(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1), p));
}
MONO_INLINE __m512i bf16_bits(VecF v) {  // rounded to nearest even, in the low halves
  const __m512i u = _mm512_castps_si512(v);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(1));
  const __m512i sum = _mm512_add_epi32(u, _mm512_add_epi32(odd, _mm512_set1_epi32(0x7fff)));
  const __m512i nan = _mm512_or_si512(_mm512_srli_epi32(u, 16), _mm512_set1_epi32(0x40));
  return _mm512_mask_mov_epi32(_mm512_srli_epi32(sum, 16), _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q),
                               nan);
}
MONO_INLINE void vstore(float* p, VecF v) {
  _mm512_storeu_ps(p, v);
}
MONO_INLINE void vstore(double* p, VecD v) {
  _mm512_storeu_pd(p, v);
}
MONO_INLINE void vstore(bf16* p, VecF v) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), _mm512_cvtepi32_epi16(bf16_bits(v)));
}
MONO_INLINE void vstore(float* p, VecF v, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1), v);
}
MONO_INLINE void vstore(double* p, VecD v, int n) {
  _mm512_mask_storeu_pd(p, static_cast<__mmask8>((1u << n) - 1), v);
}
MONO_INLINE void vstore(bf16* p, VecF v, int n) {
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1),
                           _mm512_cvtepi32_epi16(bf16_bits(v)));
}
MONO_INLINE VecF round_to_bf16(VecF v) {
  return _mm512_castsi512_ps(_mm512_slli_epi32(bf16_bits(v), 16));
}
MONO_INLINE VecF broadcast(float a) {
  return _mm512_set1_ps(a);
}
MONO_INLINE VecD broadcast(double a) {
  return _mm512_set1_pd(a);
}
MONO_INLINE VecF fma(VecF a, VecF b, VecF c) {
  return _mm512_fmadd_ps(a, b, c);
}
MONO_INLINE VecD fma(VecD a, VecD b, VecD c) {
  return _mm512_fmadd_pd(a, b, c);
}
// max(0, v); a NaN stays a NaN.
MONO_INLINE VecF relu(VecF v) {
  return _mm512_max_ps(_mm512_setzero_ps(), v);
}
MONO_INLINE VecD relu(VecD v) {
  return _mm512_max_pd(_mm512_setzero_pd(), v);
}
// v where gate > 0, else 0.
MONO_INLINE VecF where_positive(VecF gate, VecF v) {
  return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(gate, _mm512_setzero_ps(), _CMP_GT_OQ), v);
}
MONO_INLINE VecD where_positive(VecD gate, VecD v) {
  return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(gate, _mm512_setzero_pd(), _CMP_GT_OQ), v);
}

#else  // SSE2 and AVX2

#if MONO_ISA_avx2
using VecF = __m256;
using VecD = __m256d;
MONO_INLINE VecF vload(const float* p) {
  return _mm256_loadu_ps(p);
}
MONO_INLINE VecD vload(const double* p) {
  return _mm256_loadu_pd(p);
}
MONO_INLINE VecF vload(const bf16* p) {
  const __m128i v = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
  return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(v), 16));
}
MONO_INLINE __m256i bf16_bits(VecF v) {
  const __m256i u = _mm256_castps_si256(v);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(1));
  const __m256i sum = _mm256_add_epi32(u, _mm256_add_epi32(odd, _mm256_set1_epi32(0x7fff)));
  const __m256i nan = _mm256_or_si256(_mm256_srli_epi32(u, 16), _mm256_set1_epi32(0x40));
  return _mm256_blendv_epi8(_mm256_srli_epi32(sum, 16), nan,
                            _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q)));
}
MONO_INLINE void vstore(float* p, VecF v) {
  _mm256_storeu_ps(p, v);
}
MONO_INLINE void vstore(double* p, VecD v) {
  _mm256_storeu_pd(p, v);
}
MONO_INLINE void vstore(bf16* p, VecF v) {
  const __m256i bits = bf16_bits(v);
  const __m128i packed =
      _mm_packus_epi32(_mm256_castsi256_si128(bits), _mm256_extracti128_si256(bits, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(p), packed);
}
MONO_INLINE VecF round_to_bf16(VecF v) {
  return _mm256_castsi256_ps(_mm256_slli_epi32(bf16_bits(v), 16));
}
MONO_INLINE VecF broadcast(float a) {
  return _mm256_set1_ps(a);
}
MONO_INLINE VecD broadcast(double a) {
  return _mm256_set1_pd(a);
}
MONO_INLINE VecF fma(VecF a, VecF b, VecF c) {
  return _mm256_fmadd_ps(a, b, c);
}
MONO_INLINE VecD fma(VecD a, VecD b, VecD c) {
  return _mm256_fmadd_pd(a, b, c);
}
MONO_INLINE VecF relu(VecF v) {
  return _mm256_max_ps(_mm256_setzero_ps(), v);
}
MONO_INLINE VecD relu(VecD v) {
  return _mm256_max_pd(_mm256_setzero_pd(), v);
}
MONO_INLINE VecF where_positive(VecF gate, VecF v) {
  return _mm256_and_ps(_mm256_cmp_ps(gate, _mm256_setzero_ps(), _CMP_GT_OQ), v);
}
MONO_INLINE VecD where_positive(VecD gate, VecD v) {
  return _mm256_and_pd(_mm256_cmp_pd(gate, _mm256_setzero_pd(), _CMP_GT_OQ), v);
}
#else
using VecF = __m128;
using VecD = __m128d;
MONO_INLINE VecF vload(const float* p) {
  return _mm_loadu_ps(p);
}
MONO_INLINE VecD vload(const double* p) {
  return _mm_loadu_pd(p);
}
MONO_INLINE VecF vload(const bf16* p) {
  const __m128i v = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
  return _mm_castsi128_ps(_mm_unpacklo_epi16(_mm_setzero_si128(), v));
}
MONO_INLINE __m128i bf16_bits(VecF v) {
  const __m128i u = _mm_castps_si128(v);
  const __m128i odd = _mm_and_si128(_mm_srli_epi32(u, 16), _mm_set1_epi32(1));
  const __m128i sum = _mm_add_epi32(u, _mm_add_epi32(odd, _mm_set1_epi32(0x7fff)));
  const __m128i nan = _mm_or_si128(_mm_srli_epi32(u, 16), _mm_set1_epi32(0x40));
  const __m128i is_nan = _mm_castps_si128(_mm_cmpunord_ps(v, v));
  return _mm_or_si128(_mm_and_si128(is_nan, nan),
                      _mm_andnot_si128(is_nan, _mm_srli_epi32(sum, 16)));
}
MONO_INLINE void vstore(float* p, VecF v) {
  _mm_storeu_ps(p, v);
}
MONO_INLINE void vstore(double* p, VecD v) {
  _mm_storeu_pd(p, v);
}
MONO_INLINE void vstore(bf16* p, VecF v) {  // sign-extended, because SSE2 packs signed only
  const __m128i bits = _mm_srai_epi32(_mm_slli_epi32(bf16_bits(v), 16), 16);
  _mm_storel_epi64(reinterpret_cast<__m128i*>(p), _mm_packs_epi32(bits, bits));
}
MONO_INLINE VecF round_to_bf16(VecF v) {
  return _mm_castsi128_ps(_mm_slli_epi32(bf16_bits(v), 16));
}
MONO_INLINE VecF broadcast(float a) {
  return _mm_set1_ps(a);
}
MONO_INLINE VecD broadcast(double a) {
  return _mm_set1_pd(a);
}
MONO_INLINE VecF fma(VecF a, VecF b, VecF c) {
  return a * b + c;
}
MONO_INLINE VecD fma(VecD a, VecD b, VecD c) {
  return a * b + c;
}
MONO_INLINE VecF relu(VecF v) {
  return _mm_max_ps(_mm_setzero_ps(), v);
}
MONO_INLINE VecD relu(VecD v) {
  return _mm_max_pd(_mm_setzero_pd(), v);
}
MONO_INLINE VecF where_positive(VecF gate, VecF v) {
  return _mm_and_ps(_mm_cmpgt_ps(gate, _mm_setzero_ps()), v);
}
MONO_INLINE VecD where_positive(VecD gate, VecD v) {
  return _mm_and_pd(_mm_cmpgt_pd(gate, _mm_setzero_pd()), v);
}
#endif

// Partial vectors, without masks: through a buffer on the stack.
template <class E>
MONO_INLINE auto vload(const E* p, int n) {
  E buffer[sizeof(VecF) / sizeof(float)] = {};
  for (int i = 0; i < n; ++i) buffer[i] = p[i];
  return vload(buffer);
}
template <class E, class V>
MONO_INLINE void vstore(E* p, V v, int n) {
  E buffer[sizeof(VecF) / sizeof(float)];
  vstore(buffer, v);
  for (int i = 0; i < n; ++i) p[i] = buffer[i];
}

#endif

template <>
struct VecOf<float> {
  using type = VecF;
  static constexpr int kLanes = sizeof(VecF) / sizeof(float);
};
template <>
struct VecOf<double> {
  using type = VecD;
  static constexpr int kLanes = sizeof(VecD) / sizeof(double);
};

// Rounds to the values that storage type T can hold.
template <class T, class V>
MONO_INLINE V round_to(V v) {
  if constexpr (sizeof(T) == 2)
    return round_to_bf16(v);
  else
    return v;
}

}  // namespace mono::MONO_ISA
