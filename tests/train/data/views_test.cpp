#include "train/data/views.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "tests/kernels/crop_views_cases.h"
#include "train/data/portable_math.h"

namespace mono {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

TEST(PortableMath, AgreesWithTheLibraryToTheLastBits) {
  Philox random(3, Purpose::test);
  for (int i = 0; i < 20000; ++i) {
    const double x = std::ldexp(0.5 + random.uniform(), static_cast<int>(random.below(200)) - 100);
    EXPECT_NEAR(portable_log(x), std::log(x), 2e-15 * std::max(1.0, std::abs(std::log(x)))) << x;
    const double y = 40 * random.uniform() - 20;
    EXPECT_NEAR(portable_exp(y) / std::exp(y), 1, 5e-15) << y;
  }
  EXPECT_EQ(portable_log(1), 0);
  EXPECT_EQ(portable_exp(0), 1);
}

TEST(Views, WhichImageAViewIsOf) {
  EXPECT_THAT(images_of_views({}, true), ElementsAre(0, 1, 0, 0, 0, 1, 1, 1));
  EXPECT_THAT(images_of_views({}, false), ElementsAre(0, 0, 0, 0, 0, 0, 0, 0));
  EXPECT_THAT(images_of_views({.local_crops = 0}, true), ElementsAre(0, 1));
  EXPECT_THAT(images_of_views({.global_crops = 1, .local_crops = 0}, false), ElementsAre(0));
  EXPECT_THAT(images_of_views({.local_crops = 3}, true), ElementsAre(0, 1, 0, 0, 1));
}

constexpr int kDraws = 40000;

CropBox crop_of(const CropRange& range, int i, int height = 256, int width = 256) {
  Philox random(11, Purpose::test, static_cast<uint32_t>(i));
  return draw_crop(random, range, 3.0 / 4, 4.0 / 3, height, width);
}

double share_of_whole_images(const CropRange& range) {
  int whole = 0;
  for (int i = 0; i < kDraws; ++i) whole += crop_of(range, i) == CropBox{0, 0, 256, 256};
  return static_cast<double>(whole) / kDraws;
}

// CDCL's global crops, and the supervised run's. Without the rounding to whole pixels, which lets
// 256.4 through, ten tries would fail with (1 - 0.0896)^10 = 0.39 and (1 - 0.187)^10 = 0.125; with
// it 0.362 and 0.117, as 200,000 draws of albumentations' code give. Five standard errors are
// 0.012.
TEST(Views, ShareOfWholeImages) {
  EXPECT_NEAR(share_of_whole_images({0.9, 1.1, 224}), 0.362, 0.012);
  EXPECT_NEAR(share_of_whole_images({0.8, 1.2, 224}), 0.117, 0.010);
  EXPECT_EQ(share_of_whole_images({0.3, 0.5, 112}), 0);
}

TEST(Views, CropsHaveTheAreaAndRatioAskedFor) {
  const CropRange range{0.3, 0.5, 112};
  std::array<int, 4> quarters{};  // of the logarithm of the ratio
  double area = 0;
  for (int i = 0; i < kDraws; ++i) {
    const CropBox box = crop_of(range, i);
    ASSERT_TRUE(box.y >= 0 && box.x >= 0 && box.y + box.h <= 256 && box.x + box.w <= 256);
    const double share = box.h * box.w / 65536.0, ratio = static_cast<double>(box.w) / box.h;
    ASSERT_NEAR(share, 0.4, 0.105);  // rounding to whole pixels
    ASSERT_GT(ratio, 0.74);
    ASSERT_LT(ratio, 1.35);
    area += share;
    const double position = (std::log(ratio) / std::log(4.0 / 3) + 1) / 2;
    ++quarters[static_cast<size_t>(std::clamp(position, 0.0, 0.999) * 4)];
  }
  EXPECT_NEAR(area / kDraws, 0.4, 0.002);
  for (const int count : quarters) EXPECT_NEAR(count, kDraws / 4, kDraws / 50);
}

// Every offset from 0 to the last is drawn alike, both ends included.
TEST(Views, OffsetsAreUniform) {
  std::array<int, 3> counts{};
  for (int i = 0; i < 30000; ++i) {
    const CropBox box = crop_of({0.249, 0.251, 1}, i, 4, 2);  // 2 pixels: 2 x 1 at 3 x 2 offsets
    if (box.h == 2 && box.w == 1) ++counts[static_cast<size_t>(box.y)];
  }
  const int all = counts[0] + counts[1] + counts[2];
  ASSERT_GT(all, 5000);
  for (const int count : counts) EXPECT_NEAR(count, all / 3.0, 5 * std::sqrt(all * 2 / 9.0));
}

TEST(Views, WhatFitsNoWhereIsTheMiddleOrTheWholeImage) {
  const CropRange never{3, 3.1, 8};
  EXPECT_EQ(crop_of(never, 0), (CropBox{0, 0, 256, 256}));
  EXPECT_EQ(crop_of(never, 0, 100, 30), (CropBox{30, 0, 40, 30}));
  EXPECT_EQ(crop_of(never, 0, 30, 100), (CropBox{0, 30, 30, 40}));
  EXPECT_EQ(crop_of(never, 0, 1, 1), (CropBox{0, 0, 1, 1}));
}

TEST(Views, ElementsAndColoursHaveTheirProbabilities) {
  std::array<int, 8> elements{};
  int shifted = 0;
  double gain_sum = 0, gain_squares = 0, shift_sum = 0, shift_squares = 0, product = 0;
  for (int i = 0; i < kDraws; ++i) {
    std::array<float, 6> gain{}, shift{};
    const CropView view = draw_view({}, i % 8, 256, 256, 5, i / 100, i % 100, gain, shift);
    ++elements[static_cast<size_t>(view.dihedral)];
    if (gain[0] == 1 && shift[0] == 0) {
      for (size_t c = 0; c < 6; ++c) ASSERT_TRUE(gain[c] == 1 && shift[c] == 0);
      continue;
    }
    ++shifted;
    for (size_t c = 0; c < 6; ++c) {
      const double g = gain[c] - 1.0, s = shift[c];
      gain_sum += g, gain_squares += g * g, shift_sum += s, shift_squares += s * s,
          product += g * s;
    }
  }
  // With both flips, the group's halves: turned by an odd quarter half of the time that one turns.
  for (size_t e = 0; e < 8; ++e)
    EXPECT_NEAR(elements[e], kDraws * (e < 4 ? 0.1875 : 0.0625), 5 * std::sqrt(kDraws * 0.15)) << e;
  EXPECT_NEAR(shifted, kDraws * 0.5, 500);
  const double n = 6.0 * shifted;
  EXPECT_NEAR(gain_sum / n, 0, 5 * 0.1 / std::sqrt(n));
  EXPECT_NEAR(shift_sum / n, 0, 5 * 0.1 / std::sqrt(n));
  EXPECT_NEAR(gain_squares / n, 0.01, 5 * 0.01 * std::sqrt(2 / n));
  EXPECT_NEAR(shift_squares / n, 0.01, 5 * 0.01 * std::sqrt(2 / n));
  EXPECT_NEAR(product / n, 0, 5 * 0.01 / std::sqrt(n));
}

// The turn alone leaves an image as it is five times of eight: not turned, or by no quarter.
TEST(Views, TurnsLeaveFiveOfEightAsTheyAre) {
  ViewOptions options;
  options.flip = 0;
  std::array<int, 8> elements{};
  std::vector<float> none;
  for (int i = 0; i < kDraws; ++i)
    ++elements[static_cast<size_t>(draw_view(options, 0, 64, 64, 5, i, 3, none, none).dihedral)];
  const double error = 5 * std::sqrt(kDraws * 0.24);
  EXPECT_NEAR(elements[0], kDraws * 0.625, error);
  for (const int quarters : {1, 2, 3})
    EXPECT_NEAR(elements[static_cast<size_t>(dihedral_of(false, false, quarters))], kDraws * 0.125,
                error);
}

TEST(Views, OptionsSwitchChangesOff) {
  ViewOptions options;
  options.flip = options.quarter_turns = options.colour = 0;
  std::array<float, 2> gain{}, shift{};
  for (int i = 0; i < 50; ++i) {
    EXPECT_EQ(draw_view(options, i % 8, 99, 99, 1, i, i, gain, shift).dihedral, 0);
    EXPECT_THAT(gain, ElementsAre(1, 1));
    EXPECT_THAT(shift, ElementsAre(0, 0));
  }
}

TEST(Views, ADrawIsAFunctionOfItsKeys) {
  const auto draw = [](int view, uint64_t seed, int64_t epoch, int anchor) {
    std::array<float, 3> gain{}, shift{};
    ViewOptions options;
    options.colour = 1;
    const CropView v = draw_view(options, view, 256, 256, seed, epoch, anchor, gain, shift);
    return std::array<double, 7>{double(v.y),        double(v.x), double(v.h), double(v.w),
                                 double(v.dihedral), gain[2],     shift[0]};
  };
  EXPECT_EQ(draw(3, 1, 2, 4), draw(3, 1, 2, 4));
  for (const auto& other : {draw(4, 1, 2, 4), draw(3, 2, 2, 4), draw(3, 1, 3, 4), draw(3, 1, 2, 5)})
    EXPECT_NE(draw(3, 1, 2, 4), other);
}

// albumentations' order: vertical flip, horizontal flip, quarters counter-clockwise. After OpenCV's
// resize and numpy's flipud, fliplr and rot90, through the function that the loader calls.
TEST(Views, FlipsAndTurnsAreThoseOfNumpy) {
  int rows = 0;
  for (const test::GoldenResize& row : test::golden_resizes()) {
    if (row.seed < 100) continue;
    const test::GoldenPlane plane(row, 2);
    const Tensor planes = Tensor::empty({1, 1, plane.H, plane.W}, DType::u8);
    std::ranges::copy(plane.pixels, planes.data<uint8_t>());
    CropView view = plane.view;
    view.dihedral = dihedral_of(row.vertical, row.horizontal, row.quarters);
    const std::vector<float> one = {1}, zero = {0}, counts = {255};
    const Tensor out = cropped_views(planes, {&view, 1}, {one, zero},
                                     plane_scale(zero, counts, Device::cpu), row.side, DType::f64);
    std::vector<uint8_t> bytes;
    for (const double v : out.span<double>()) bytes.push_back(static_cast<uint8_t>(std::lround(v)));
    EXPECT_EQ(test::fnv1a(bytes), row.hash) << row.name();
    ++rows;
  }
  EXPECT_EQ(rows, 48);
}

TEST(Views, OptionsThatMakeNoSenseAreNamed) {
  const auto expect = [](const ViewOptions& options, const char* what) {
    try {
      check_view_options(options);
      ADD_FAILURE() << what;
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      EXPECT_THAT(error.what(), HasSubstr(what));
    }
  };
  check_view_options({});
  expect({.global_crops = 0}, "0 global");
  expect({.global_crops = 3}, "3 global");
  expect({.local_crops = -1}, "-1 local");
  expect({.global = {0, 1, 224}}, "global crops");
  expect({.global = {1.1, 0.9, 224}}, "1.1..0.9");
  expect({.local = {0.3, 0.5, 0}}, "local crops");
  check_view_options({.local = {0, 0, 0}, .local_crops = 0});
  expect({.min_ratio = 0}, "width over height");
  expect({.flip = 1.5}, "1.5");
  expect({.quarter_turns = -0.1}, "a turn");
  expect({.colour = std::nan("")}, "colour");
  expect({.gain_std = -1}, "-1");
}

TEST(Views, TheMiddleOfAnImage) {
  const CropView view = centre_view(3, 256, 257, 224);
  EXPECT_EQ(view.image, 3);
  EXPECT_EQ(view.y, 16);
  EXPECT_EQ(view.x, 16);
  EXPECT_EQ(view.h, 224);
  EXPECT_EQ(view.w, 224);
  EXPECT_THROW(centre_view(0, 224, 223, 224), Error);
}

}  // namespace
}  // namespace mono
