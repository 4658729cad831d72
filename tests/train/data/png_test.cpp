#include "train/data/png.h"

#include <gtest/gtest.h>

namespace mono {
TEST(Png, RoundTrip) {
  const PngInfo info{7, 5, 1};
  std::vector<uint8_t> pixels(info.bytes());
  for (size_t i = 0; i < pixels.size(); ++i) pixels[i] = static_cast<uint8_t>(i * i * 31 + 7);
  const auto file = encode_png(info, pixels.data());
  std::vector<uint8_t> back(info.bytes());
  decode_png(file, "x.png", info, back.data());
  EXPECT_EQ(back, pixels);
}
}  // namespace mono
