// The tile registers of AMX as every product here uses them: eight of 16 rows by 64 bytes, two by
// two of them accumulators. For sources of the AMX level (x_amx.cpp) only; in an unnamed namespace,
// as words_avx512.h.
#pragma once

#include <immintrin.h>

#include <cstdint>

namespace mono {
namespace {

constexpr int kAmxTile = 16;  // rows, and words of a row, of a tile

struct alignas(64) AmxConfiguration {
  uint8_t palette = 1;
  uint8_t start_row = 0;
  uint8_t reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
constexpr AmxConfiguration kAmxConfiguration;

// The calling thread's tile registers, from construction to the end of the scope.
struct AmxSession {
  AmxSession() { _tile_loadconfig(&kAmxConfiguration); }
  ~AmxSession() { _tile_release(); }
  AmxSession(const AmxSession&) = delete;
  AmxSession& operator=(const AmxSession&) = delete;
};

}  // namespace
}  // namespace mono
