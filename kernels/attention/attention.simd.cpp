#include "kernels/base/simd.h"

namespace mono::MONO_ISA {
namespace {

constexpr int kLanes = 16;  // partial results of a row, whatever the width of a vector

// exp(x) for x <= 88 within 1.5 units in the last place; 0 below -87; NaN of NaN and infinity.
// Cephes' expf: x = n ln 2 + r, a polynomial in r, n put into the exponent.
MONO_INLINE float exponential(float x) {
  constexpr float kRound = 12582912.0f;  // 1.5 * 2^23: adding it leaves an integer in the low bits
  const float shifted = madd(x, 1.44269504f, kRound);
  const float n = shifted - kRound;
  const float r = madd(n, 2.12194440e-4f, madd(n, -0.693359375f, x));
  float p = madd(r, 1.9875691500e-4f, 1.3981999507e-3f);
  p = madd(p, r, 8.3334519073e-3f);
  p = madd(p, r, 4.1665795894e-2f);
  p = madd(p, r, 1.6666665459e-1f);
  p = madd(p, r, 5.0000001201e-1f);
  p = madd(p, r * r, r) + 1.0f;
  const uint32_t exponent = (__builtin_bit_cast(uint32_t, shifted) + 127u) << 23;
  const float scaled = p * __builtin_bit_cast(float, exponent);
  return x < -87.0f ? 0.0f : scaled;
}

}  // namespace

template <class T>
void attention_widen(int rows, int columns, const T* x, int64_t ld, float* out, int64_t ldo) {
  for (int row = 0; row < rows; ++row) {
    const T* from = x + row * ld;
    float* to = out + row * ldo;
    MONO_VECTORISE
    for (int c = 0; c < columns; ++c) to[c] = load(from + c);
    for (int64_t c = columns; c < ldo; ++c) to[c] = 0;
  }
}

template <class T>
void attention_transpose(int rows, int columns, const T* x, int64_t ld, float* out, int64_t ldo) {
  for (int begin = 0; begin < ldo; begin += kLanes) {
    const int here = rows - begin < kLanes ? rows - begin : kLanes;
    const T* from = x + begin * ld;
    for (int c = 0; c < columns; ++c) {
      float* to = out + c * ldo + begin;
      if (here == kLanes) {
        for (int row = 0; row < kLanes; ++row) to[row] = load(from + row * ld + c);
      } else {
        for (int row = 0; row < kLanes; ++row) to[row] = row < here ? load(from + row * ld + c) : 0;
      }
    }
  }
}

template <class T>
void attention_store(int rows, int columns, const float* x, int64_t ldx, const float* factors, T* y,
                     int64_t ldy, bool add) {
  for (int row = 0; row < rows; ++row) {
    const float factor = factors ? factors[row] : 1;
    const float* from = x + row * ldx;
    T* to = y + row * ldy;
    if (add) {
      MONO_VECTORISE
      for (int c = 0; c < columns; ++c) store(to + c, madd(factor, from[c], load(to + c)));
    } else {
      MONO_VECTORISE
      for (int c = 0; c < columns; ++c) store(to + c, factor * from[c]);
    }
  }
}

void attention_softmax(int rows, int columns, float scale, float* s, int64_t ld,
                       float* inverse_sums, float* lse) {
  for (int row = 0; row < rows; ++row) {
    float* x = s + row * ld;
    for (int64_t c = columns; c < ld; ++c) x[c] = -__builtin_inff();
    float most[kLanes], sums[kLanes];
    for (int i = 0; i < kLanes; ++i) most[i] = x[i], sums[i] = 0;
    for (int64_t c = kLanes; c < ld; c += kLanes) {
#pragma GCC unroll 1  // unrolled, it would stay scalar
      for (int i = 0; i < kLanes; ++i) most[i] = x[c + i] > most[i] ? x[c + i] : most[i];
    }
    float highest = most[0];
    for (int i = 1; i < kLanes; ++i) highest = most[i] > highest ? most[i] : highest;
    highest *= scale;
    for (int64_t c = 0; c < ld; c += kLanes)
      for (int i = 0; i < kLanes; ++i) {
        const float e = exponential(madd(scale, x[c + i], -highest));
        x[c + i] = e;
        sums[i] += e;
      }
    for (int width = kLanes / 2; width > 0; width /= 2)
      for (int i = 0; i < width; ++i) sums[i] += sums[i + width];
    inverse_sums[row] = 1 / sums[0];
    lse[row] = highest + __builtin_logf(sums[0]);
  }
}

void attention_gradient(int rows, int columns, float scale, const float* lse, const float* delta,
                        float* s, float* dp, int64_t ld) {
  for (int row = 0; row < rows; ++row) {
    float *x = s + row * ld, *dx = dp + row * ld;
    const float shift = -lse[row], mean = delta[row];
    MONO_VECTORISE
    for (int c = 0; c < columns; ++c) {
      const float p = exponential(madd(scale, x[c], shift));
      x[c] = p;
      dx[c] = scale * p * (dx[c] - mean);
    }
  }
}

#define MONO_INSTANCE(T)                                                           \
  template void attention_widen(int, int, const T*, int64_t, float*, int64_t);     \
  template void attention_transpose(int, int, const T*, int64_t, float*, int64_t); \
  template void attention_store(int, int, const float*, int64_t, const float*, T*, int64_t, bool);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)

}  // namespace mono::MONO_ISA
