// Augmentation as a function of Tensors: layouts, scales, what is refused. The gather itself is
// tested with its kernel.
#include "nn/functional/augmentation.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/base/philox.h"

namespace mono {
namespace {

using testing::HasSubstr;

Tensor random_planes(int N, int C, int H, int W) {
  Philox random(5, Purpose::test);
  const Tensor planes = Tensor::empty({N, C, H, W}, DType::u8);
  for (uint8_t& value : planes.span<uint8_t>()) value = static_cast<uint8_t>(random.below(256));
  return planes;
}

TEST(AugmentedImages, AreTheNormalisedCropWithChannelsInnermost) {
  const int N = 2, C = 3, H = 7, W = 9, crop = 5;
  const Tensor planes = random_planes(N, C, H, W);
  const std::vector<AugmentImage> images = {{.crop_y = 2, .crop_x = 4}, {.crop_y = 0, .crop_x = 1}};
  std::vector<float> mean, inv_std;
  for (int i = 0; i < N * C; ++i) {
    mean.push_back(0.1f * static_cast<float>(i));
    inv_std.push_back(1.0f + static_cast<float>(i));
  }
  const Tensor out = augmented_images(planes, AugmentValues(planes, images, crop),
                                      plane_scale(mean, inv_std, Device::cpu), DType::f64);
  ASSERT_EQ(out.shape(), (Shape{N, crop, crop, C}));
  for (int n = 0; n < N; ++n)
    for (int h = 0; h < crop; ++h)
      for (int w = 0; w < crop; ++w)
        for (int c = 0; c < C; ++c) {
          const int y = h + images[n].crop_y, x = w + images[n].crop_x, i = n * C + c;
          const double value = planes.data<uint8_t>()[((n * C + c) * H + y) * W + x];
          EXPECT_NEAR(out.data<double>()[((n * crop + h) * crop + w) * C + c],
                      (value / 255 - double(mean[i])) * double(inv_std[i]), 1e-6);
        }
}

TEST(SelfStandardisation, GivesEveryPlaneMeanZeroAndDeviationOne) {
  const int N = 2, C = 2, crop = 6;
  const Tensor planes = random_planes(N, C, 8, 8);
  const std::vector<AugmentImage> images = {{.crop_y = 1, .crop_x = 2}, {.crop_y = 2}};
  const AugmentValues values(planes, images, crop);
  const Tensor out =
      augmented_images(planes, values, self_standardisation(planes, values), DType::f32);
  for (int n = 0; n < N; ++n)
    for (int c = 0; c < C; ++c) {
      double sum = 0, squares = 0;
      for (int p = 0; p < crop * crop; ++p) {
        const double value = double(out.data<float>()[(n * crop * crop + p) * C + c]);
        sum += value;
        squares += value * value;
      }
      EXPECT_NEAR(sum, 0, 1e-4);
      EXPECT_NEAR(squares / (crop * crop - 1), 1, 1e-5);
    }
}

TEST(AugmentedImages, RefuseACropLargerThanThePlanes) {
  const std::vector<AugmentImage> images(2);
  try {
    AugmentValues(random_planes(2, 3, 7, 9), images, 8);
    FAIL() << "a crop of 8 from 7 rows";
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("planes u8 (2, 3, 7, 9) for 2 images and a crop of 8"));
  }
}

}  // namespace
}  // namespace mono
