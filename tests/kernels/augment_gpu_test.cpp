// Augmentation on the GPU against the CPU's, whose own test has the definition: the same bits.
#include "kernels/augment/augment.h"

#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

struct Batch {
  std::vector<uint8_t> planes;
  std::vector<AugmentImage> images;
  std::vector<float> mean, inv_std;
};

// Every element of the dihedral group, crops in the corners, CutMix boxes and MixUp weights.
Batch batch_of(const AugmentProblem& p) {
  Philox random(5, Purpose::test);
  Batch batch;
  batch.planes.resize(int64_t{p.N} * p.C * p.H * p.W);
  for (uint8_t& value : batch.planes) value = static_cast<uint8_t>(random.below(256));
  for (int n = 0; n < p.N; ++n) {
    AugmentImage image;
    image.crop_y = n % 2 ? p.H - p.P : static_cast<int>(random.below(p.H - p.P + 1));
    image.crop_x = n % 3 ? p.W - p.P : static_cast<int>(random.below(p.W - p.P + 1));
    image.dihedral = n % 8;
    image.partner = (n + 3) % p.N;
    if (n % 4 == 1) image.mix = static_cast<float>(random.uniform());
    if (n % 4 == 2) {
      image.box_y0 = p.P / 3;
      image.box_y1 = p.P;
      image.box_x0 = 0;
      image.box_x1 = p.P / 2;
    }
    batch.images.push_back(image);
  }
  batch.mean = normal_values<float>(p.N * p.C, 1, 0.5, 0.1);
  batch.inv_std = normal_values<float>(p.N * p.C, 2, 3.0, 0.3);
  return batch;
}

std::vector<AugmentProblem> problems() {
  return {
      {.N = 8, .C = 6, .H = 21, .W = 19, .P = 17, .ldy = 8},  // packs, padding
      {.N = 8, .C = 3, .H = 33, .W = 40, .P = 31},
      {.N = 9, .C = 5, .H = 9, .W = 16, .P = 7, .ldy = 7},
      {.N = 1, .C = 1, .H = 1, .W = 1, .P = 1},
      {.N = 2, .C = 8, .H = 32, .W = 48, .P = 32},  // packs
  };
}

template <class T>
class AugmentGpu : public ::testing::Test {};
TYPED_TEST_SUITE(AugmentGpu, ActivationTypes);

TYPED_TEST(AugmentGpu, SameBitsAsTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const AugmentProblem& p : problems()) {
      SCOPED_TRACE(fmt::format("n{} c{} crop {}", p.N, p.C, p.P));
      const GpuStream stream;
      const Batch batch = batch_of(p);
      std::vector<T> want(int64_t{p.N} * p.P * p.P * (p.ldy ? p.ldy : p.C));
      const GpuArray<uint8_t> planes(stream, batch.planes);
      const GpuArray<AugmentImage> images(stream, batch.images);
      const GpuArray<float> mean(stream, batch.mean), inv_std(stream, batch.inv_std);
      const GpuArray<T> out(stream, static_cast<int64_t>(want.size()));
      augment<T>(Stream{}, p, batch.planes.data(), batch.images.data(), batch.mean.data(),
                 batch.inv_std.data(), want.data());
      augment<T>(stream, p, planes.data(), images.data(), mean.data(), inv_std.data(), out.data());
      EXPECT_TRUE(same_bits(out.host(), want));
    }
  });
}

// Every count alone: the kernel divides by 255 without a division.
TYPED_TEST(AugmentGpu, EveryCountIsDividedAsTheCpuDivides) {
  using T = TypeParam;
  for_each_schedule([] {
    const GpuStream stream;
    const AugmentProblem p{.N = 1, .C = 1, .H = 16, .W = 16, .P = 16};
    std::vector<uint8_t> counts(256);
    for (int i = 0; i < 256; ++i) counts[i] = static_cast<uint8_t>(i);
    const float zero = 0, one = 1;
    const AugmentImage image;
    std::vector<T> want(256);
    const GpuArray<uint8_t> planes(stream, counts);
    const GpuArray<AugmentImage> images(stream, std::vector<AugmentImage>{image});
    const GpuArray<float> mean(stream, std::vector<float>{zero}),
        inv_std(stream, std::vector<float>{one});
    const GpuArray<T> out(stream, 256);
    augment<T>(Stream{}, p, counts.data(), &image, &zero, &one, want.data());
    augment<T>(stream, p, planes.data(), images.data(), mean.data(), inv_std.data(), out.data());
    EXPECT_TRUE(same_bits(out.host(), want));
  });
}

TEST(CropStatisticsGpu, SameBitsAsTheCpu) {
  for_each_schedule([] {
    for (const AugmentProblem& p : problems()) {
      SCOPED_TRACE(fmt::format("n{} c{} crop {}", p.N, p.C, p.P));
      const GpuStream stream;
      const Batch batch = batch_of(p);
      const int64_t entries = int64_t{p.N} * p.C;
      std::vector<double> want_mean(entries), want_std(entries);
      std::vector<float> want_plane_mean(entries), want_inv_std(entries);
      const GpuArray<uint8_t> planes(stream, batch.planes);
      const GpuArray<AugmentImage> images(stream, batch.images);
      const GpuArray<double> mean(stream, entries), std(stream, entries);
      const GpuArray<float> plane_mean(stream, entries), inv_std(stream, entries);
      const auto work = [&](Stream on, const uint8_t* from, const AugmentImage* table, double* m,
                            double* s, float* pm, float* pi) {
        crop_statistics(on, p, from, table, m, s);
        standardisation_tables(on, entries, m, s, pm, pi);
      };
      work(Stream{}, batch.planes.data(), batch.images.data(), want_mean.data(), want_std.data(),
           want_plane_mean.data(), want_inv_std.data());
      work(stream, planes.data(), images.data(), mean.data(), std.data(), plane_mean.data(),
           inv_std.data());
      EXPECT_TRUE(same_bits(mean.host(), want_mean));
      EXPECT_TRUE(same_bits(std.host(), want_std));
      EXPECT_TRUE(same_bits(plane_mean.host(), want_plane_mean));
      EXPECT_TRUE(same_bits(inv_std.host(), want_inv_std));
      // Plane 0, by hand.
      double sum = 0;
      for (int h = 0; h < p.P; ++h)
        for (int w = 0; w < p.P; ++w)
          sum += batch.planes[(batch.images[0].crop_y + h) * p.W + batch.images[0].crop_x + w];
      EXPECT_NEAR(want_plane_mean[0], sum / (255.0 * p.P * p.P), 1e-6);
    }
  });
}

TEST(AugmentGpuErrors, ExtentsAreCheckedOnAnyDeviceAndImagesOnTheHost) {
  for_each_schedule([] {
    const GpuStream stream;
    const AugmentProblem large{.N = 1, .C = 1, .H = 4, .W = 4, .P = 5};
    EXPECT_THROW(augment<float>(stream, large, nullptr, nullptr, nullptr, nullptr, nullptr), Error);
    const AugmentProblem fits{.N = 1, .C = 1, .H = 4, .W = 4, .P = 3};
    AugmentImage image;
    augment_check(fits, &image);
    image.crop_x = 2;
    EXPECT_THROW(augment_check(fits, &image), Error);
    augment_check(fits, nullptr);
  });
}

}  // namespace
}  // namespace mono
