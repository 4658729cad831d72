// Declares and calls functions that a `x.simd.cpp` defines once per instruction-set level.
//
//   MONO_DECLARE_SIMD(template <class T> void scale_unit(int64_t n, const T* x, T* y));
//   MONO_SIMD(scale_unit<T>(n, x, y));     // the best level that this CPU has
#pragma once

#include "kernels/base/cpu_features.h"

#define MONO_DECLARE_SIMD(...) \
  namespace baseline {         \
  __VA_ARGS__;                 \
  }                            \
  namespace avx2 {             \
  __VA_ARGS__;                 \
  }                            \
  namespace avx512 {           \
  __VA_ARGS__;                 \
  }

#define MONO_SIMD(...)                                               \
  (::mono::cpu_isa() >= ::mono::CpuIsa::avx512 ? avx512::__VA_ARGS__ \
   : ::mono::cpu_isa() >= ::mono::CpuIsa::avx2 ? avx2::__VA_ARGS__   \
                                               : baseline::__VA_ARGS__)
