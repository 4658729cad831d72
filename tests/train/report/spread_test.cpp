#include "train/report/spread.h"

#include <gtest/gtest.h>

#include <cmath>

namespace mono::report {
namespace {

TEST(Spreads, AreOfTheFiniteValues) {
  const Spread two = spread_of({1, std::nan(""), 3});
  EXPECT_EQ(two.count, 2u);
  EXPECT_EQ(two.mean, 2);
  EXPECT_NEAR(*two.sd, std::sqrt(2.0), 1e-12);  // n - 1
  EXPECT_EQ(two.text(), "2.0 ± 1.4");
  EXPECT_EQ(spread_of({5}).text(2), "5.00");  // one value has no spread
  EXPECT_EQ(spread_of({std::nan("")}).text(), "–");
}

}  // namespace
}  // namespace mono::report
