// The little that vectorised loops need, for sources compiled once per instruction-set level
// (`x.simd.cpp`): fused multiply-add where the level has it, and element conversion in a form that
// compilers vectorise.
//
// A `x.simd.cpp` defines its functions in namespace mono::MONO_ISA and uses plain pointers and
// loops only; `x_loops.h` declares them with MONO_DECLARE_SIMD, and callers pick the level with
// MONO_SIMD (kernels/base/simd_dispatch.h). Everything here is forced inline: an inline function
// compiled for a level above the baseline must never be the copy that the linker keeps.
#pragma once

#include <cstdint>

#include "kernels/base/bf16.h"

#ifndef MONO_ISA
#error "kernels/base/simd.h is for x.simd.cpp only: MONO_ISA names the level being compiled"
#endif

#define MONO_INLINE static inline __attribute__((always_inline))
// Iterations are independent although pointers may be equal (never overlapping otherwise).
#define MONO_VECTORISE _Pragma("GCC ivdep")

namespace mono::MONO_ISA {

// a * b + c, rounded once where the level has fma and twice where it has not. Forward and backward
// of one process use the same level, so decisions made from it (ReLU masks) agree.
MONO_INLINE float madd(float a, float b, float c) {
#ifdef __FMA__
  return __builtin_fmaf(a, b, c);
#else
  return a * b + c;
#endif
}
MONO_INLINE double madd(double a, double b, double c) {
#ifdef __FMA__
  return __builtin_fma(a, b, c);
#else
  return a * b + c;
#endif
}

// An element as the type it is computed in, and back (bf16: round to nearest even, NaN stays NaN).
MONO_INLINE float load(const float* p) {
  return *p;
}
MONO_INLINE double load(const double* p) {
  return *p;
}
MONO_INLINE float load(const bf16* p) {
  return __builtin_bit_cast(float, static_cast<uint32_t>(p->bits) << 16);
}
MONO_INLINE void store(float* p, float v) {
  *p = v;
}
MONO_INLINE void store(double* p, double v) {
  *p = v;
}
MONO_INLINE void store(bf16* p, float v) {
  const uint32_t u = __builtin_bit_cast(uint32_t, v);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const uint32_t quiet_nan = (u >> 16) | 0x40u;
  p->bits = static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
}

}  // namespace mono::MONO_ISA
