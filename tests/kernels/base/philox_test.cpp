#include "kernels/base/philox.h"

#include <gtest/gtest.h>

#include <vector>

namespace mono {
namespace {

// Known-answer vectors of the Random123 distribution (kat_vectors, philox4x32 10).
TEST(Philox, KnownAnswers) {
  EXPECT_EQ(philox4x32_10({0, 0, 0, 0}, {0, 0}),
            (PhiloxBlock{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(
      philox4x32_10({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
      (PhiloxBlock{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(
      philox4x32_10({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
      (PhiloxBlock{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(Philox, IsAFunctionOfItsCounter) {
  Philox a(7, Purpose::test, 1, 2, 3), b(7, Purpose::test, 1, 2, 3), c(7, Purpose::test, 1, 2, 4);
  const uint64_t first = a.next_u64();
  EXPECT_EQ(first, b.next_u64());
  EXPECT_NE(first, c.next_u64());
}

TEST(Philox, ShuffleIsAPermutationAndBetaHasItsMean) {
  Philox random(1, Purpose::test);
  std::vector<int> values(100);
  for (int i = 0; i < 100; ++i) values[i] = i;
  random.shuffle(values);
  std::vector<int> seen(100, 0);
  for (int v : values) ++seen[v];
  for (int count : seen) EXPECT_EQ(count, 1);
  double sum = 0;
  for (int i = 0; i < 20000; ++i) sum += random.beta(2.0, 6.0);
  EXPECT_NEAR(sum / 20000, 0.25, 0.005);
}

}  // namespace
}  // namespace mono
