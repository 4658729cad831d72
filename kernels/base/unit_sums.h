// Sums of units of work, merged in unit order in double: the second stage of every reduction on the
// CPU.
#pragma once

#include <algorithm>
#include <cstdint>

#include "kernels/base/segments.h"

namespace mono {

// out[c] (+)= sum over units of partial[unit * step + c], c < columns. One thread.
template <class P, class M>
void add_units(int columns, int64_t units, const P* partial, int64_t step, M* out, GradMode mode) {
  if (mode == GradMode::ignore) return;
  constexpr int kBlock = 256;
  double sums[kBlock];
  for (int first = 0; first < columns; first += kBlock, partial += kBlock, out += kBlock) {
    const int count = std::min(kBlock, columns - first);
    for (int c = 0; c < count; ++c)
      sums[c] = mode == GradMode::accumulate ? static_cast<double>(out[c]) : 0.0;
    for (int64_t unit = 0; unit < units; ++unit)
      for (int c = 0; c < count; ++c) sums[c] += static_cast<double>(partial[unit * step + c]);
    for (int c = 0; c < count; ++c) out[c] = static_cast<M>(sums[c]);
  }
}

}  // namespace mono
