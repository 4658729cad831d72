// Philox4x32-10: a counter-based random generator (Salmon et al., SC 2011).
//
// No state: a value is a function of (key, counter), so any number of threads, workers or ranks,
// and any resume point, draw the same values. The key is (seed, purpose); the counter is
// (epoch, sample, view, draw).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <utility>

namespace mono {

using PhiloxBlock = std::array<uint32_t, 4>;

constexpr PhiloxBlock philox4x32_10(PhiloxBlock counter, std::array<uint32_t, 2> key) {
  for (int round = 0; round < 10; ++round) {
    const uint64_t p0 = uint64_t{0xD2511F53} * counter[0];
    const uint64_t p1 = uint64_t{0xCD9E8D57} * counter[2];
    counter = {static_cast<uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<uint32_t>(p1),
               static_cast<uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<uint32_t>(p0)};
    key[0] += 0x9E3779B9;
    key[1] += 0xBB67AE85;
  }
  return counter;
}

// What random numbers are for; part of the key, so that streams never overlap.
enum class Purpose : uint32_t {
  initialisation = 1,
  split,
  sampler,
  dihedral,
  crop,
  mixing,
  statistics_groups,
  synthetic,
  test,
  partner,
  colour,
  drop_path,
  layout,
  pairs,
  explanation,
  pictures
};

// A sequence of draws at one counter position. Copyable; two copies draw the same values.
class Philox {
 public:
  Philox(uint64_t seed, Purpose purpose, uint32_t epoch = 0, uint32_t sample = 0, uint32_t view = 0)
      : key_{static_cast<uint32_t>(seed) ^ (static_cast<uint32_t>(purpose) * 0x9E3779B9u),
             static_cast<uint32_t>(seed >> 32) ^ static_cast<uint32_t>(purpose)},
        counter_{0, epoch, sample, view} {}

  uint32_t next_u32();
  uint64_t next_u64() {
    const uint64_t low = next_u32();
    return low | uint64_t{next_u32()} << 32;
  }
  double uniform() { return static_cast<double>(next_u64() >> 11) * 0x1.0p-53; }  // [0, 1)
  // Unbiased integer in [0, bound), bound >= 1.
  uint32_t below(uint32_t bound);
  double normal();                  // standard normal (Box-Muller)
  double gamma(double shape);       // Marsaglia and Tsang; shape > 0
  double beta(double a, double b);  // by two gammas

  // In-place Fisher-Yates shuffle.
  template <class Container>
  void shuffle(Container& values) {
    for (size_t i = values.size(); i > 1; --i)
      std::swap(values[i - 1], values[below(static_cast<uint32_t>(i))]);
  }

 private:
  std::array<uint32_t, 2> key_;
  PhiloxBlock counter_;
  PhiloxBlock block_{};
  int used_ = 4;
};

}  // namespace mono
