// Views on the GPU against the CPU's, whose own test has OpenCV's bytes and the definition: the
// same bits.
#include "tests/kernels/crop_views_cases.h"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
std::vector<T> on_gpu(const CropViewsCase& given) {
  const GpuStream stream;
  const GpuArray<uint8_t> planes(stream, given.planes);
  const GpuArray<CropView> views(stream, given.views);
  const GpuArray<float> gain(stream, given.gain), shift(stream, given.shift);
  const GpuArray<float> mean(stream, given.mean), inv_std(stream, given.inv_std);
  const GpuArray<T> out(stream, given.size());
  EXPECT_EQ(crop_views_workspace_bytes(kGpu, given.p, kDTypeOf<T>), 0u);
  crop_views<T>(stream, given.p, planes.data(), views.data(), gain.data(), shift.data(),
                mean.data(), inv_std.data(), out.data(), {});
  return out.host();
}

template <class T>
class CropViewsGpu : public ::testing::Test {};
TYPED_TEST_SUITE(CropViewsGpu, ActivationTypes);

TYPED_TEST(CropViewsGpu, SameBitsAsTheCpu) {
  using T = TypeParam;
  const CropViewsProblem problems[] = {
      {.N = 3, .C = 6, .H = 33, .W = 29, .M = 9, .P = 17, .ldy = 8},  // packs, padding
      {.N = 2, .C = 3, .H = 40, .W = 21, .M = 8, .P = 31},
      {.N = 1, .C = 5, .H = 9, .W = 16, .M = 8, .P = 7, .ldy = 7},
      {.N = 1, .C = 1, .H = 1, .W = 1, .M = 1, .P = 33},
      {.N = 2, .C = 8, .H = 32, .W = 48, .M = 8, .P = 16},  // packs
      {.N = 1, .C = 6, .H = 5, .W = 5, .M = 8, .P = 1},
  };
  for (const CropViewsProblem& p : problems) {
    SCOPED_TRACE(fmt::format("n{} c{} h{}w{} to {} of {}", p.N, p.C, p.H, p.W, p.M, p.P));
    const CropViewsCase given(p);
    const std::vector<T> want = given.run<T>();
    for_each_schedule([&] { EXPECT_TRUE(same_bits(on_gpu<T>(given), want)); });
  }
}

// A crop as large as training's.
TYPED_TEST(CropViewsGpu, SameBitsAsTheCpuAtFullSize) {
  const CropViewsCase given({.N = 1, .C = 2, .H = 256, .W = 256, .M = 1, .P = 224});
  for_one_schedule(
      [&] { EXPECT_TRUE(same_bits(on_gpu<TypeParam>(given), given.run<TypeParam>())); });
}

TEST(CropViewsGpuErrors, ExtentsAreCheckedOnAnyDevice) {
  for_one_schedule([] {
    const GpuStream stream;
    const auto run = [&](const CropViewsProblem& p) {
      crop_views<float>(stream, p, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr, nullptr,
                        {});
    };
    EXPECT_THROW(run({.N = 1, .C = 1, .H = 4, .W = 4, .M = 1, .P = 0}), Error);
    EXPECT_THROW(run({.N = 1, .C = 1, .H = 4, .W = 4, .M = 1 << 30, .P = 33}), Error);
    run({.N = 1, .C = 1, .H = 4, .W = 4, .M = 0, .P = 3});  // nothing to do
  });
}

}  // namespace
}  // namespace mono
