// The gradient tree: the same bits as the balanced sum, in few arrays.
#include "runtime/gradient_tree.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <set>

#include "kernels/base/philox.h"

namespace mono {
namespace {

constexpr int kWeights = 37;

std::vector<float> leaf_of(int group) {
  Philox random(3, Purpose::test, static_cast<uint32_t>(group));
  std::vector<float> values(kWeights);
  for (float& v : values) v = static_cast<float>(random.normal());
  return values;
}

// The definition: the largest power of two below the count splits the groups.
std::vector<float> balanced_sum(int begin, int end) {
  if (end - begin == 1) return leaf_of(begin);
  const int half = static_cast<int>(std::bit_floor(static_cast<unsigned>(end - begin - 1)));
  std::vector<float> sum = balanced_sum(begin, begin + half);
  const std::vector<float> right = balanced_sum(begin + half, end);
  for (int i = 0; i < kWeights; ++i) sum[i] += right[i];
  return sum;
}

struct GradientTreeTest : testing::Test {
  GradientTreeTest() {
    parameter = &arena.add("w", {kWeights}, Init::zeros);
    arena.allocate(DType::f32);
  }
  Tensor piece(const Tensor& array) { return arena.view(array, *parameter); }
  ParameterArena arena;
  const Parameter* parameter;
};

TEST_F(GradientTreeTest, AnyNumberOfGroupsGivesTheBalancedSumBitForBit) {
  for (int groups = 1; groups <= 17; ++groups) {
    GradientTree tree(arena);
    for (int g = 0; g < groups; ++g) {
      const Tensor leaf = tree.next_leaf();
      std::ranges::copy(leaf_of(g), piece(leaf).data<float>());
      tree.add(leaf);
    }
    EXPECT_TRUE(std::ranges::equal(piece(tree.sum()).span<float>(), balanced_sum(0, groups)))
        << groups << " groups";
  }
}

TEST_F(GradientTreeTest, RanksWithContiguousSubtreesGiveTheSameBits) {
  for (int ranks : {2, 4, 8}) {
    GradientTree across(arena);
    for (int rank = 0; rank < ranks; ++rank) {
      GradientTree own(arena);
      for (int g = rank * 8 / ranks; g < (rank + 1) * 8 / ranks; ++g) {
        const Tensor leaf = own.next_leaf();
        std::ranges::copy(leaf_of(g), piece(leaf).data<float>());
        own.add(leaf);
      }
      across.add(own.sum());
    }
    EXPECT_TRUE(std::ranges::equal(piece(across.sum()).span<float>(), balanced_sum(0, 8)))
        << ranks << " ranks";
  }
}

TEST_F(GradientTreeTest, ArraysAreRecycled) {
  GradientTree tree(arena);
  std::set<const Storage*> arrays;
  const auto step = [&](int groups) {
    for (int g = 0; g < groups; ++g) {
      const Tensor leaf = tree.next_leaf();
      arrays.insert(leaf.storage());
      piece(leaf).zero();
      tree.add(leaf);
    }
    tree.sum();
  };
  for (int i = 0; i < 5; ++i) step(1);
  EXPECT_EQ(arrays.size(), 1u);
  for (int i = 0; i < 5; ++i) step(8);
  EXPECT_EQ(arrays.size(), 4u) << "log2(8) + 1";
  for (int i = 0; i < 5; ++i) step(100);
  EXPECT_LE(arrays.size(), 8u);
}

TEST_F(GradientTreeTest, ClearForgetsAndKeepsTheArrays) {
  GradientTree tree(arena);
  std::set<const Storage*> arrays;
  for (int i = 0; i < 4; ++i) {
    for (int g = 0; g < 2; ++g) {
      const Tensor leaf = tree.next_leaf();
      arrays.insert(leaf.storage());
      tree.add(leaf);
    }
    tree.clear();
  }
  EXPECT_EQ(arrays.size(), 2u);
  EXPECT_THROW(tree.sum(), Error);
}

}  // namespace
}  // namespace mono
