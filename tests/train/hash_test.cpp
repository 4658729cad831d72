#include "train/hash.h"

#include <gtest/gtest.h>

namespace mono {
namespace {

TEST(Hash, PiecesEqualTheWhole) {
  Hasher hasher;
  hasher.update("mono");
  hasher.update("");
  hasher.update("layer");
  EXPECT_EQ(hasher.digest(), hash64("monolayer"));
  EXPECT_EQ(hash_text(hash64("")), "2d06800538d394c2");  // XXH3-64 of nothing
}

}  // namespace
}  // namespace mono
