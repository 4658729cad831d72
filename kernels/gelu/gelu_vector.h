// The normal distribution, for loops that the compiler vectorises. For x.simd.cpp sources only.
//
// Phi(-a) = exp(-a^2/2) t P(t), t = 1 / (1 + 0.3 a): what is left after the exponential is smooth,
// and a polynomial of degree 9 through its Chebyshev points has it to 5e-9. f64, for verification,
// asks the library.
#pragma once

#include "kernels/base/simd_vector.h"

namespace mono::MONO_ISA {

static constexpr float kFarthest = 13.0f;  // Phi(-13) = 6e-39: no normal float lies below
static constexpr float kDensity = 0.398942280401432678f;

// exp(y) for -88 < y <= 0, to a rounding or two.
MONO_INLINE float exp_of_negative(float y) {
  constexpr float kToInteger = 12582912.0f;  // 1.5 * 2^23: adding it rounds to whole numbers
  const float shifted = madd(y, 1.44269504088896341f, kToInteger);
  const float n = shifted - kToInteger;
  const float r = madd(n, 2.12194440e-4f, madd(n, -0.693359375f, y));  // y - n ln 2, |r| < 0.35
  float p = madd(r, 1.0f / 5040, 1.0f / 720);
  p = madd(p, r, 1.0f / 120);
  p = madd(p, r, 1.0f / 24);
  p = madd(p, r, 1.0f / 6);
  p = madd(p, r, 0.5f);
  p = madd(p, r, 1.0f);
  p = madd(p, r, 1.0f);
  const int32_t exponent = __builtin_bit_cast(int32_t, shifted) << 23;
  return __builtin_bit_cast(float, __builtin_bit_cast(int32_t, p) + exponent);
}

namespace {
struct Normal {
  float below;    // Phi(x)
  float density;  // phi(x)
};
struct NormalD {
  double below, density;
};
}  // namespace
MONO_INLINE Normal normal(float x) {
  const float magnitude = __builtin_fabsf(x);
  const float a = magnitude > kFarthest ? kFarthest : magnitude;  // a NaN goes through
  const float t = 1.0f / madd(a, 0.3f, 1.0f);
  float p = madd(t, -0.02079953828f, 0.1134252157f);
  p = madd(p, t, -0.2306171132f);
  p = madd(p, t, 0.1950860379f);
  p = madd(p, t, -0.08224134229f);
  p = madd(p, t, 0.09770152166f);
  p = madd(p, t, 0.07784760983f);
  p = madd(p, t, 0.1103524561f);
  p = madd(p, t, 0.1195577451f);
  p = madd(p, t, 0.1196874059f);
  const float square = a * a, rest = madd(a, a, -square);  // a^2 = square + rest
  const float e = exp_of_negative(-0.5f * square);
  const float exponential = madd(e, -0.5f * rest, e);
  const float tail = exponential * (t * p);
  return {x < 0 ? tail : 1.0f - tail, exponential * kDensity};
}
MONO_INLINE NormalD normal(double x) {
  return {0.5 * __builtin_erfc(x * -0.707106781186547524401),
          0.398942280401432677940 * __builtin_exp(-0.5 * x * x)};
}

// Loops over bf16 go through blocks of floats: a loop that converts and computes at once keeps two
// vectors of everything in registers, and spills.
static constexpr int kGeluBlock = 256;
MONO_INLINE void widen_block(int n, const bf16* x, float* to) {
  constexpr int kLanes = VecOf<float>::kLanes;
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(to + i, vload(x + i));
  if (i < n) vstore(to + i, vload(x + i, n - i), n - i);
}
MONO_INLINE void narrow_block(int n, const float* x, bf16* to) {
  constexpr int kLanes = VecOf<float>::kLanes;
  int i = 0;
  for (; i + kLanes <= n; i += kLanes) vstore(to + i, vload(x + i));
  if (i < n) vstore(to + i, vload(x + i, n - i), n - i);
}

// z = gelu(x) and slope = gelu'(x); either may be x itself.
template <class M>
MONO_INLINE void gelu_values(int64_t n, const M* x, M* z) {
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) z[i] = x[i] * normal(x[i]).below;
}
template <class M>
MONO_INLINE void gelu_slopes(int64_t n, const M* x, M* slope) {
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) {
    const auto at = normal(x[i]);
    slope[i] = madd(x[i], at.density, at.below);
  }
}
template <class M>
MONO_INLINE void gelu_values_and_slopes(int64_t n, const M* x, M* z, M* slope) {
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) {
    const M v = x[i];
    const auto at = normal(v);
    z[i] = v * at.below;
    slope[i] = madd(v, at.density, at.below);
  }
}

}  // namespace mono::MONO_ISA
