#include "kernels/crop_views/crop_views.h"

#include <algorithm>
#include <array>

#include "kernels/augment/augment.h"
#include "tests/kernels/crop_views_cases.h"

namespace mono {
namespace {

using namespace test;

// One channel of one view as uint8: what the resize gave, turned by the view's element.
std::vector<uint8_t> resized(int H, int W, const uint8_t* plane, const CropView& view, int P) {
  const CropViewsProblem p{.N = 1, .C = 1, .H = H, .W = W, .M = 1, .P = P};
  const float zero = 0, one = 1, counts = 255;
  std::vector<double> out(int64_t{P} * P);
  Scratch scratch(crop_views_workspace_bytes(Device::cpu, p, DType::f64));
  crop_views(p, plane, &view, &one, &zero, &zero, &counts, out.data(), scratch.span());
  std::vector<uint8_t> bytes;
  for (const double v : out) bytes.push_back(static_cast<uint8_t>(std::lround(v)));
  return bytes;
}

TEST(CropViewsResize, EqualsOpenCvInEveryByte) {
  int rows = 0;
  for (const GoldenResize& row : golden_resizes()) {
    if (row.vertical || row.horizontal || row.quarters) continue;
    for (const int margin : {0, 3}) {
      const GoldenPlane plane(row, margin);
      EXPECT_EQ(fnv1a(resized(plane.H, plane.W, plane.pixels.data(), plane.view, row.side)),
                row.hash)
          << row.name() << ", margin " << margin;
    }
    ++rows;
  }
  EXPECT_GE(rows, 24);
}

TEST(CropViewsResize, HalvingIsTheMeanOfFourPixels) {
  const GoldenPlane plane({.height = 12, .width = 12, .side = 6, .seed = 3}, 0);
  const std::vector<uint8_t> out = resized(12, 12, plane.pixels.data(), plane.view, 6);
  for (int i = 0; i < 6; ++i)
    for (int j = 0; j < 6; ++j) {
      const uint8_t* at = plane.pixels.data() + 24 * i + 2 * j;
      EXPECT_EQ(out[6 * i + j], (at[0] + at[1] + at[12] + at[13] + 2) / 4);
    }
}

// Within a count of the interpolation in double, for every size: a wrong weight or neighbour shows.
TEST(CropViewsResize, IsABilinearInterpolation) {
  for (const auto& [h, w, P] : {std::array{37, 50, 16}, {5, 9, 31}, {1, 6, 4}, {64, 3, 20}}) {
    const GoldenPlane plane({.height = h, .width = w, .side = P, .seed = 11}, 2);
    const std::vector<uint8_t> out = resized(plane.H, plane.W, plane.pixels.data(), plane.view, P);
    const auto pixel = [&](int y, int x) {
      return double(
          plane.pixels[(2 + std::clamp(y, 0, h - 1)) * plane.W + 2 + std::clamp(x, 0, w - 1)]);
    };
    for (int i = 0; i < P; ++i)
      for (int j = 0; j < P; ++j) {
        const double y = (i + 0.5) * h / P - 0.5, x = (j + 0.5) * w / P - 0.5;
        const int top = static_cast<int>(std::floor(y)), left = static_cast<int>(std::floor(x));
        const double fy = y - top, fx = x - left;
        const double want = (1 - fy) * ((1 - fx) * pixel(top, left) + fx * pixel(top, left + 1)) +
                            fy * ((1 - fx) * pixel(top + 1, left) + fx * pixel(top + 1, left + 1));
        ASSERT_NEAR(out[i * P + j], want, 1.0) << h << " x " << w << " at " << i << "," << j;
      }
  }
}

TEST(CropViewsResize, AConstantImageStaysConstant) {
  for (const int value : {0, 1, 127, 254, 255})
    for (const auto& [h, w, P] : {std::array{7, 5, 16}, {40, 41, 7}, {1, 1, 3}}) {
      const std::vector<uint8_t> plane(h * w, static_cast<uint8_t>(value));
      for (const uint8_t v : resized(h, w, plane.data(), {.h = h, .w = w}, P)) EXPECT_EQ(v, value);
    }
}

template <class T>
class CropViews : public ::testing::Test {};
TYPED_TEST_SUITE(CropViews, ActivationTypes);

// Transposition, vertical and horizontal flip, one after the other.
std::vector<uint8_t> turned(std::vector<uint8_t> square, int P, int dihedral) {
  const std::vector<uint8_t> before = square;
  if (dihedral & 4)
    for (int h = 0; h < P; ++h)
      for (int w = 0; w < P; ++w) square[h * P + w] = before[w * P + h];
  if (dihedral & 2)
    for (int h = 0; h < P / 2; ++h)
      std::swap_ranges(square.begin() + h * P, square.begin() + (h + 1) * P,
                       square.begin() + (P - 1 - h) * P);
  if (dihedral & 1)
    for (int h = 0; h < P; ++h) std::reverse(square.begin() + h * P, square.begin() + (h + 1) * P);
  return square;
}

TYPED_TEST(CropViews, MatchesTheDefinition) {
  using T = TypeParam;
  using M = Master<T>;
  for (const CropViewsProblem& p :
       {CropViewsProblem{.N = 3, .C = 6, .H = 25, .W = 21, .M = 17, .P = 19, .ldy = 8},
        {.N = 2, .C = 1, .H = 9, .W = 40, .M = 9, .P = 16},
        {.N = 1, .C = 5, .H = 33, .W = 18, .M = 8, .P = 33, .ldy = 5},
        {.N = 1, .C = 2, .H = 1, .W = 1, .M = 1, .P = 1}}) {
    const CropViewsCase given(p);
    const std::vector<T> out = given.run<T>();
    const int ld = p.ldy ? p.ldy : p.C;
    for (int m = 0; m < p.M; ++m)
      for (int c = 0; c < ld; ++c) {
        CropView view = given.views[m];
        view.dihedral = 0;
        std::vector<uint8_t> square(p.P * p.P);
        const int64_t source = int64_t{view.image} * p.C + c;
        view.image = 0;  // of the one plane given
        if (c < p.C)
          square = turned(resized(p.H, p.W, given.planes.data() + source * p.H * p.W, view, p.P),
                          p.P, given.views[m].dihedral);
        for (int i = 0; i < p.P * p.P; ++i) {
          double want = 0;  // a padding channel
          if (c < p.C)
            want = (square[i] / 255.0 * given.gain[m * p.C + c] + given.shift[m * p.C + c] -
                    given.mean[source]) *
                   given.inv_std[source];
          const double got = static_cast<M>(out[(int64_t{m} * p.P * p.P + i) * ld + c]);
          ASSERT_NEAR(got, want,
                      (std::abs(want) + 1) * (std::is_same_v<T, double>  ? 1e-13
                                              : std::is_same_v<T, float> ? 1e-5
                                                                         : 0x1p-8))
              << "view " << m << " channel " << c << " pixel " << i;
        }
      }
  }
}

// A box of the output's size is a plain crop: what augment gives, in every bit.
TYPED_TEST(CropViews, WithoutAResizeEqualsAugment) {
  using T = TypeParam;
  const CropViewsProblem p{.N = 4, .C = 6, .H = 23, .W = 29, .M = 8, .P = 17, .ldy = 8};
  CropViewsCase given(p);
  std::vector<AugmentImage> images(p.M);
  std::vector<uint8_t> planes;
  std::vector<float> mean, inv_std;
  for (int m = 0; m < p.M; ++m) {
    given.views[m] = {.image = m / 2, .y = m % 7, .x = 12 - m, .h = 17, .w = 17, .dihedral = m};
    images[m] = {.crop_y = m % 7, .crop_x = 12 - m, .dihedral = m, .partner = m};
    const int64_t plane = int64_t{p.C} * p.H * p.W, from = m / 2 * plane;
    planes.insert(planes.end(), given.planes.begin() + from, given.planes.begin() + from + plane);
    for (int c = 0; c < p.C; ++c) {
      mean.push_back(given.mean[m / 2 * p.C + c]);
      inv_std.push_back(given.inv_std[m / 2 * p.C + c]);
    }
  }
  std::ranges::fill(given.gain, 1.0f);
  std::ranges::fill(given.shift, 0.0f);
  std::vector<T> want(given.size());
  augment<T>({.N = p.M, .C = p.C, .H = p.H, .W = p.W, .P = p.P, .ldy = p.ldy}, planes.data(),
             images.data(), mean.data(), inv_std.data(), want.data());
  EXPECT_TRUE(same_bits(given.run<T>(), want));
}

TYPED_TEST(CropViews, AnyNumberOfThreadsGivesTheSameBits) {
  const CropViewsCase given({.N = 3, .C = 5, .H = 20, .W = 26, .M = 11, .P = 18});
  same_for_any_threads([&] { return given.run<TypeParam>(); });
}

TEST(CropViewsErrors, WhatDoesNotFitIsRefused) {
  CropViewsCase given({.N = 2, .C = 1, .H = 6, .W = 5, .M = 1, .P = 3});
  for (const CropView& bad :
       {CropView{.image = 2}, CropView{.image = -1}, CropView{.h = 0}, CropView{.w = 6},
        CropView{.y = 3, .h = 4}, CropView{.x = -1}, CropView{.y = 6}, CropView{.dihedral = 8},
        CropView{.y = 1 << 30, .h = 1 << 30}}) {
    given.views[0] = bad;
    EXPECT_THROW(given.run<float>(), Error);
  }
  given.views[0] = {.y = 5, .x = 4};  // the last pixel
  given.run<float>();
  std::vector<float> out(9);
  EXPECT_THROW(
      crop_views(given.p, given.planes.data(), given.views.data(), given.gain.data(),
                 given.shift.data(), given.mean.data(), given.inv_std.data(), out.data(), {}),
      Error);  // no workspace
  EXPECT_THROW(crop_views_check({.N = 1, .C = 1, .H = 6, .W = 5, .M = 1, .P = 0}, nullptr), Error);
}

}  // namespace
}  // namespace mono
