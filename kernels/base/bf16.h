// bfloat16: the upper half of a float, rounded to nearest even. Storage only; arithmetic is float.
#pragma once

#include <bit>
#include <cstdint>

namespace mono {

struct bf16 {
  uint16_t bits;

  bf16() = default;
  explicit bf16(float value) : bits(round_to_nearest_even(value)) {}
  explicit operator float() const {
    return std::bit_cast<float>(static_cast<uint32_t>(bits) << 16);
  }

  static uint16_t round_to_nearest_even(float value) {
    const uint32_t u = std::bit_cast<uint32_t>(value);
    const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
    const uint32_t quiet_nan = (u >> 16) | 0x40u;  // rounding a NaN up could carry it into infinity
    return static_cast<uint16_t>((u & 0x7fffffffu) > 0x7f800000u ? quiet_nan : rounded);
  }
};
static_assert(sizeof(bf16) == 2);

}  // namespace mono
