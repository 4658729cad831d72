// A pixel's count on the scale 0..1.
#pragma once

#include <cstdint>

#include "kernels/simt/simt.cuh"

namespace mono {

// count / 255, rounded as a division is, for every count 0..255 (checked when the tests run): two
// fused steps instead of a call with branches.
template <class M>
__device__ __forceinline__ M unit_value(uint8_t count) {
  const M c = static_cast<M>(count), inverse = M(1) / M(255), quotient = c * inverse;
  return fma(fma(-quotient, M(255), c), inverse, quotient);
}

}  // namespace mono
