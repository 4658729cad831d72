// Brightness alone: bins, shares, order of sites, threads.
#include "train/data/intensity_histogram.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

// 4 x 4 pixels: channel c of site s holds 10 s + c in a quarter of them, 255 in the others.
class TwoTones final : public ImageSource {
 public:
  void read(int site, std::span<const int> channels, uint8_t* planes) const override {
    for (const int channel : channels)
      for (int i = 0; i < 16; ++i)
        *planes++ = static_cast<uint8_t>(i % 4 ? 255 : 10 * site + channel);
  }
  int height() const override { return 4; }
  int width() const override { return 4; }
};

TEST(IntensityHistogram, HoldsRootsOfShares) {
  const std::array<int, 2> sites = {3, 0}, channels = {1, 0};
  const Features features = intensity_histograms(TwoTones(), sites, channels);
  ASSERT_EQ(features.rows, 2);
  ASSERT_EQ(features.width, 64);
  for (int row = 0; row < 2; ++row)
    for (size_t c = 0; c < 2; ++c) {
      const int value = 10 * sites[static_cast<size_t>(row)] + channels[c];
      const size_t bin = static_cast<size_t>(2 * std::sqrt(static_cast<double>(value)) + 1e-9);
      for (size_t b = 0; b < 32; ++b)
        EXPECT_FLOAT_EQ(features.row(row)[c * 32 + b], b == bin  ? 0.5f
                                                       : b == 31 ? std::sqrt(0.75f)
                                                                 : 0.0f)
            << row << ' ' << c << ' ' << b;
    }
}

TEST(IntensityHistogram, IsTheSameForAnyNumberOfThreads) {
  std::vector<int> sites(25);
  for (int i = 0; i < 25; ++i) sites[static_cast<size_t>(i)] = i;
  const std::array<int, 1> channels = {2};
  const int before = num_threads();
  set_num_threads(1);
  const Features one = intensity_histograms(TwoTones(), sites, channels);
  set_num_threads(3);
  EXPECT_EQ(intensity_histograms(TwoTones(), sites, channels).values, one.values);
  set_num_threads(before);
}

}  // namespace
}  // namespace mono
