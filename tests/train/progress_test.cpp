#include "train/progress.h"

#include <gtest/gtest.h>

namespace mono {
namespace {

TEST(Progress, DurationsAsAPersonReadsThem) {
  EXPECT_EQ(duration_text(0.4), "0 s");
  EXPECT_EQ(duration_text(59.4), "59 s");
  EXPECT_EQ(duration_text(59.6), "1:00 min");
  EXPECT_EQ(duration_text(187), "3:07 min");
  EXPECT_EQ(duration_text(2 * 3600 + 5 * 60 + 59), "2:05 h");
}

TEST(Progress, ALogGetsNoLineBefore30SecondsAndNoControlCharacters) {
  char buffer[256] = {};
  std::FILE* out = fmemopen(buffer, sizeof(buffer), "w");
  {
    ProgressLine line(out);
    EXPECT_FALSE(line.due());
    line.show("half of it");
    line.clear();
  }
  std::fclose(out);
  EXPECT_STREQ(buffer, "half of it\n");
}

}  // namespace
}  // namespace mono
