// How the composites of a picture are scaled.
#include "train/data/montage.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "tests/train/data/test_screen.h"

namespace mono {
namespace {

// Two sites in a row, drawn at the images' own size.
class MontageScaling : public ::testing::Test {
 protected:
  static constexpr int kSize = 16, kPixels = kSize * kSize;

  MontageScaling() {
    test::write_text(dir_ / "metadata.csv", test::small_table());
    test::write_images(dir_.path(), kSize);
    dataset_ = open_dataset(dir_.path());
    images_ = open_images(dataset_);
    std::iota(channels_.begin(), channels_.end(), 0);
  }
  std::vector<uint8_t> planes_of(int site) const {
    std::vector<uint8_t> planes(kRxrxChannels * kPixels);
    images_->read(site, channels_, planes.data());
    return planes;
  }
  // The composites of sites 0 and 5.
  std::vector<std::vector<uint8_t>> drawn() const {
    const std::vector<MontageRow> rows = {{"", {{0, -1, ""}, {5, -1, ""}}}};
    const Picture picture = draw_grid(dataset_, *images_, rows, kSize, MontageScale::percentiles);
    const int top = picture.height - kSize - 2 * 6;
    std::vector<std::vector<uint8_t>> tiles;
    for (const int left : {6, 6 + kSize + 6}) {
      std::vector<uint8_t>& tile = tiles.emplace_back();
      for (int y = 0; y < kSize; ++y) {
        const auto at = picture.rgb.begin() + ((top + y) * picture.width + left) * 3;
        tile.insert(tile.end(), at, at + kSize * 3);
      }
    }
    return tiles;
  }

  test::TempDir dir_;
  Dataset dataset_;
  std::unique_ptr<ImageSource> images_;
  std::vector<int> channels_ = std::vector<int>(kRxrxChannels);
};

// A channel runs from its 0.1 to its 99.9 percentile over both sites: of 512 counts from the least
// to the greatest, since no count is so frequent that it reaches over either.
TEST_F(MontageScaling, PercentilesAreOfAllSitesTogether) {
  const std::vector<std::vector<uint8_t>> tiles = drawn();
  const std::vector<uint8_t> planes[] = {planes_of(0), planes_of(5)};
  const std::vector<ChannelDisplay> displays = channel_displays(dataset_);
  for (const size_t t : {size_t{0}, size_t{1}})
    for (size_t i = 0; i < kPixels; ++i) {
      std::array<int, 3> sum{};
      for (size_t c = 0; c < kRxrxChannels; ++c) {
        int low = 255, high = 0;
        for (const std::vector<uint8_t>& site : planes)
          for (size_t p = 0; p < kPixels; ++p) {
            low = std::min<int>(low, site[c * kPixels + p]);
            high = std::max<int>(high, site[c * kPixels + p]);
          }
        for (size_t j = 0; j < 3; ++j)
          sum[j] += (planes[t][c * kPixels + i] - low) * displays[c].colour[j] / (high - low);
      }
      for (size_t j = 0; j < 3; ++j)
        ASSERT_EQ(tiles[t][i * 3 + j], std::min(sum[j], 255)) << t << ' ' << i;
    }
}

}  // namespace
}  // namespace mono
