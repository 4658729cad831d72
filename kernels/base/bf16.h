// bfloat16: the upper half of a float, rounded to nearest even. Storage only; arithmetic is float.
#pragma once

#include <bit>
#include <cstdint>

#include "kernels/base/host_device.h"

#ifdef __CUDACC__
#include <cuda_bf16.h>
#endif

namespace mono {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  MONO_HOST_DEVICE explicit bf16(float value) : bits(round_to_nearest_even(value)) {}
  MONO_HOST_DEVICE explicit operator float() const {
#ifdef __CUDA_ARCH__
    return __uint_as_float(static_cast<uint32_t>(bits) << 16);
#else
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
#endif
  }

  MONO_HOST_DEVICE static uint16_t round_to_nearest_even(float value) {
#ifdef __CUDA_ARCH__
    return __bfloat16_as_ushort(__float2bfloat16_rn(value));  // one instruction
#else
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet_nan = (u >> 16) | 0x40u;  // rounding a NaN up could carry it into infinity
    return static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
#endif
  }
};
static_assert(sizeof(bf16) == 2);

}  // namespace mono
