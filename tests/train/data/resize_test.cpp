// Resizing against what OpenCV 5.0.0 computes (cv2.resize, INTER_LINEAR, uint8).
#include "train/data/resize.h"

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/data/image_source.h"
#include "train/hash.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

namespace mono {
namespace {

std::vector<uint8_t> pattern(int height, int width) {
  std::vector<uint8_t> plane;
  for (int64_t i = 0; i < int64_t{height} * width; ++i)
    plane.push_back(static_cast<uint8_t>(i * i * 31 + i * 97 + i / width * 53));
  return plane;
}

std::vector<uint8_t> resized(int height, int width, int to_height, int to_width) {
  std::vector<uint8_t> out(static_cast<size_t>(to_height) * static_cast<size_t>(to_width));
  resize_linear(pattern(height, width).data(), height, width, out.data(), to_height, to_width);
  return out;
}

struct Golden {
  int height, width, to_height, to_width;
  std::vector<uint8_t> pixels;
};

TEST(Resize, SmallPlanesAsOpenCv) {
  const Golden cases[] = {
      {13, 11, 4, 5, {36,  87,  90,  63,  98,  76,  63, 90,  57,  59,
                      167, 197, 110, 133, 199, 136, 83, 116, 159, 25}},
      {6, 8, 3, 4, {123, 39, 139, 103, 165, 81, 117, 145, 143, 123, 95, 123}},
      {3, 4, 5, 6, {0,   64,  117, 73, 60,  58,  68,  79,  95,  118, 120, 116, 169, 101, 63,
                    185, 209, 203, 98, 104, 114, 130, 126, 117, 50,  106, 148, 93,  70,  60}},
      {9, 9, 9, 4, {80,  59,  227, 169, 58,  44,  60,  105, 98,  187, 50,  103,
                    39,  232, 199, 100, 139, 180, 218, 94,  141, 61,  171, 54,
                    141, 68,  57,  172, 202, 233, 38,  129, 166, 77,  209, 147}},
  };
  for (const Golden& g : cases)
    EXPECT_EQ(resized(g.height, g.width, g.to_height, g.to_width), g.pixels)
        << g.height << " x " << g.width;
}

// XXH3-64 of OpenCV's result: the sizes of CPG0004 and RxRx1, and one between.
TEST(Resize, FullSizesAsOpenCv) {
  for (const auto& [side, hash] : {std::pair(1080, uint64_t{0xfbe636ddc40b75de}),
                                   {512, uint64_t{0x74c96b71f0fbb4cf}},
                                   {300, uint64_t{0x65ee6d93d1abf2de}}}) {
    const std::vector<uint8_t> out = resized(side, side, 256, 256);
    EXPECT_EQ(hash64(out.data(), out.size()), hash) << side;
  }
}

TEST(Resize, ConstantStaysConstantAndSameSizeIsACopy) {
  const std::vector<uint8_t> in(37 * 41, 255);
  std::vector<uint8_t> out(20 * 90);
  resize_linear(in.data(), 37, 41, out.data(), 20, 90);
  EXPECT_THAT(out, testing::Each(255));
  EXPECT_EQ(resized(9, 5, 9, 5), pattern(9, 5));
}

TEST(ResizedImages, DecoratesAnySourceAndCache) {
  test::TempDir dir;
  test::write_text(dir / "metadata.csv", test::small_table());
  test::write_images(dir.path(), 32);
  Dataset d = open_dataset(dir.path());
  const FileImages files(d);
  const auto small = open_images(d, {}, 12);
  EXPECT_EQ(small->height(), 12);
  EXPECT_EQ(d.image_size, 32);
  const std::array<int, 2> channels = {4, 1};
  std::vector<uint8_t> planes(2 * 32 * 32), expected(2 * 12 * 12), got(2 * 12 * 12);
  files.read(7, channels, planes.data());
  for (size_t c = 0; c < 2; ++c)
    resize_linear(planes.data() + c * 32 * 32, 32, 32, expected.data() + c * 12 * 12, 12, 12);
  small->read(7, channels, got.data());
  EXPECT_EQ(got, expected);
  EXPECT_EQ(open_images(d, {}, 32)->width(), 32);
  EXPECT_THROW(open_images(d, {}, 33), Error);
}

}  // namespace
}  // namespace mono
