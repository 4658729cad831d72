// The vector half of implicit_gemm: the prologues, 16 floats at a time. Included by
// conv2d_implicit_gemm_<level>.cpp only; everything is in an unnamed namespace, so no two
// instruction-set levels share code.
#pragma once

#include <cstring>

#include "kernels/base/bf16.h"
#include "kernels/base/words_avx512.h"
#include "kernels/conv2d/conv2d_implicit_gemm_kernels.h"

namespace mono::implicit_gemm {
namespace {

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

}  // namespace
}  // namespace mono::implicit_gemm
