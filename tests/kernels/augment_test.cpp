#include "kernels/augment/augment.h"

#include <algorithm>
#include <array>
#include <set>

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

std::vector<uint8_t> random_planes(const AugmentProblem& p) {
  std::vector<uint8_t> planes(int64_t{p.N} * p.C * p.H * p.W);
  Philox random(5, Purpose::test);
  for (uint8_t& v : planes) v = static_cast<uint8_t>(random.below(256));
  return planes;
}

// The crop of one plane as rows, then transpose, vertical and horizontal flip one after the other.
using Image = std::vector<std::vector<double>>;
Image transformed(const AugmentProblem& p, const std::vector<uint8_t>& planes, int n, int c,
                  const AugmentImage& image) {
  Image a(p.P, std::vector<double>(p.P));
  for (int h = 0; h < p.P; ++h)
    for (int w = 0; w < p.P; ++w)
      a[h][w] = planes[((int64_t{n} * p.C + c) * p.H + image.crop_y + h) * p.W + image.crop_x + w];
  if (image.dihedral & 4) {
    Image t = a;
    for (int h = 0; h < p.P; ++h)
      for (int w = 0; w < p.P; ++w) t[h][w] = a[w][h];
    a = t;
  }
  if (image.dihedral & 2) std::reverse(a.begin(), a.end());
  if (image.dihedral & 1)
    for (auto& row : a) std::reverse(row.begin(), row.end());
  return a;
}

template <class T>
class Augment : public ::testing::Test {};
TYPED_TEST_SUITE(Augment, ActivationTypes);

TYPED_TEST(Augment, MatchesTheDefinition) {
  using T = TypeParam;
  using M = Master<T>;
  for (int C : {1, 6, 7})
    for (int pad : {0, 2}) {
      const AugmentProblem p{.N = 8, .C = C, .H = 13, .W = 17, .P = 9, .ldy = pad ? C + pad : 0};
      const int ld = C + pad;
      const std::vector<uint8_t> planes = random_planes(p);
      const std::vector<float> mean = normal_values<float>(p.N * C, 1, 0.1, 0.02);
      const std::vector<float> inv_std = normal_values<float>(p.N * C, 2, 8.0, 1.0);
      std::vector<AugmentImage> images(p.N);
      for (int n = 0; n < p.N; ++n) {
        images[n] = {.crop_y = n % 5, .crop_x = 8 - n, .dihedral = n, .partner = (n + 3) % p.N};
        if (n % 3 == 1) images[n].mix = 0.25f + 0.05f * n;
        if (n % 3 == 2) {  // boxes that touch the border, lie inside, and are empty
          images[n].box_y0 = n - 2;
          images[n].box_y1 = 9;
          images[n].box_x0 = n == 5 ? 4 : 2;
          images[n].box_x1 = n == 5 ? 4 : 7;
        }
      }
      Guarded<T> out(int64_t{p.N} * p.P * p.P * ld, 9.0);
      augment(p, planes.data(), images.data(), mean.data(), inv_std.data(), out.data());
      for (int n = 0; n < p.N; ++n)
        for (int c = 0; c < ld; ++c) {
          const int partner = images[n].partner;
          const auto normalised = [&](int of, const Image& image, int h, int w) {
            return (image[h][w] / 255 - mean[of * C + c]) * inv_std[of * C + c];
          };
          Image own, other;
          if (c < C) {
            own = transformed(p, planes, n, c, images[n]);
            other = transformed(p, planes, partner, c, images[partner]);
          }
          for (int h = 0; h < p.P; ++h)
            for (int w = 0; w < p.P; ++w) {
              double want = 0;  // a padding channel
              if (c < C) {
                const bool boxed = h >= images[n].box_y0 && h < images[n].box_y1 &&
                                   w >= images[n].box_x0 && w < images[n].box_x1;
                const double mix = images[n].mix;
                want = boxed ? normalised(partner, other, h, w)
                             : mix * normalised(n, own, h, w) +
                                   (1 - mix) * normalised(partner, other, h, w);
              }
              const double got = static_cast<M>(out[((int64_t{n} * p.P + h) * p.P + w) * ld + c]);
              ASSERT_NEAR(got, want,
                          (std::abs(want) + 0.1) * (std::is_same_v<T, double>  ? 1e-14
                                                    : std::is_same_v<T, float> ? 2e-6
                                                                               : 0x1p-8))
                  << "image " << n << " channel " << c << " at " << h << "," << w;
            }
        }
    }
}

// The eight elements, applied to the four corners of a square.
using Corners = std::array<int, 4>;
Corners apply_element(int element, const Corners& corners) {
  const AugmentProblem p{.N = 1, .C = 1, .H = 2, .W = 2, .P = 2};
  const std::vector<uint8_t> planes(corners.begin(), corners.end());
  const AugmentImage image{.dihedral = element};
  const float mean = 0, inv_std = 255;
  std::array<float, 4> out;
  augment(p, planes.data(), &image, &mean, &inv_std, out.data());
  Corners result;
  for (int i = 0; i < 4; ++i) result[i] = static_cast<int>(std::lround(out[i]));
  return result;
}

TEST(AugmentDihedral, EightDistinctElementsFormAGroup) {
  const Corners start = {0, 1, 2, 3};
  std::set<Corners> images;
  for (int a = 0; a < 8; ++a) images.insert(apply_element(a, start));
  EXPECT_EQ(images.size(), 8u);
  EXPECT_EQ(apply_element(0, start), start);
  EXPECT_EQ(apply_element(1, start), (Corners{1, 0, 3, 2}));
  EXPECT_EQ(apply_element(2, start), (Corners{2, 3, 0, 1}));
  EXPECT_EQ(apply_element(4, start), (Corners{0, 2, 1, 3}));
  for (int a = 0; a < 8; ++a) {
    bool inverse = false;
    for (int b = 0; b < 8; ++b) {
      const Corners product = apply_element(b, apply_element(a, start));
      EXPECT_TRUE(images.count(product)) << a << " then " << b;
      inverse = inverse || product == start;
    }
    EXPECT_TRUE(inverse) << "no inverse of " << a;
  }
}

TEST(AugmentStatistics, ExactOverTheCrop) {
  const AugmentProblem p{.N = 3, .C = 2, .H = 11, .W = 12, .P = 7};
  std::vector<uint8_t> planes = random_planes(p);
  std::fill_n(planes.begin(), 11 * 12, uint8_t{200});  // a constant plane
  std::vector<AugmentImage> images(3);
  images[1] = {.crop_y = 4, .crop_x = 5};
  images[2] = {.crop_y = 1, .crop_x = 0, .dihedral = 5};
  Guarded<double> mean(6), std(6);
  crop_statistics(p, planes.data(), images.data(), mean.data(), std.data());
  EXPECT_EQ(mean[0], 200.0);
  EXPECT_EQ(std[0], 0.0);
  for (int n = 0; n < 3; ++n)
    for (int c = 0; c < 2; ++c) {
      const Image image = transformed(p, planes, n, c, images[n]);
      double sum = 0, squares = 0;
      for (const auto& row : image)
        for (double v : row) sum += v;
      for (const auto& row : image)
        for (double v : row) squares += (v - sum / 49) * (v - sum / 49);
      EXPECT_DOUBLE_EQ(mean[n * 2 + c], sum / 49);
      EXPECT_NEAR(std[n * 2 + c], std::sqrt(squares / 48), 1e-12);
    }
}

TEST(AugmentErrors, CropsOutsideThePlaneAreRefused) {
  const AugmentProblem p{.N = 1, .C = 1, .H = 4, .W = 4, .P = 3};
  const std::vector<uint8_t> planes(16);
  const float mean = 0, inv_std = 1;
  std::vector<float> out(9);
  for (const AugmentImage& bad : {AugmentImage{.crop_y = 2}, AugmentImage{.crop_x = -1},
                                  AugmentImage{.dihedral = 8}, AugmentImage{.partner = 1}})
    EXPECT_THROW(augment(p, planes.data(), &bad, &mean, &inv_std, out.data()), Error);
}

TYPED_TEST(Augment, AnyNumberOfThreadsGivesTheSameBits) {
  using T = TypeParam;
  const AugmentProblem p{.N = 4, .C = 6, .H = 20, .W = 20, .P = 16};
  const std::vector<uint8_t> planes = random_planes(p);
  const std::vector<float> mean(24, 0.1f), inv_std(24, 7.0f);
  std::vector<AugmentImage> images(4);
  for (int n = 0; n < 4; ++n)
    images[n] = {.crop_y = n, .dihedral = 2 * n, .partner = 3 - n, .mix = 0.3f};
  same_for_any_threads([&] {
    std::vector<T> out(int64_t{4} * 16 * 16 * 6);
    augment(p, planes.data(), images.data(), mean.data(), inv_std.data(), out.data());
    return out;
  });
}

}  // namespace
}  // namespace mono
