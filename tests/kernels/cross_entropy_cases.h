// What the tests of cross-entropy on the CPU and on the GPU share.
#pragma once

#include <vector>

#include "kernels/base/philox.h"

namespace mono::test {

// (N,K), rows sum to 1: one class, or two as CutMix mixes them (now and then the same one twice).
inline std::vector<float> soft_targets(int N, int K) {
  std::vector<float> t(int64_t{N} * K, 0.0f);
  Philox random(3, Purpose::test);
  for (int n = 0; n < N; ++n) {
    const float share = n % 3 ? static_cast<float>(random.uniform()) : 1.0f;
    t[n * K + random.below(K)] += share;
    t[n * K + random.below(K)] += 1.0f - share;
  }
  return t;
}

}  // namespace mono::test
