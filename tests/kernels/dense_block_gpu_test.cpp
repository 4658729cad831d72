// The dense block on the GPU: as exact as the unfused composition of the CPU's kernels, with every
// variant of the convolutions; the same bits under every schedule.
#include "kernels/dense_block/dense_block.h"

#include "tests/kernels/dense_block_cases.h"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class DenseBlockGpu : public ::testing::Test {};
using HalfAndSingle = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(DenseBlockGpu, HalfAndSingle);

// Odd sizes, for the scalar paths; slices and channels in multiples of 16 bytes, for the others.
std::vector<DenseBlockCase> cases() {
  std::vector<DenseBlockCase> list;
  for (bool batch : {true, false}) {
    list.push_back({{.N = 3,
                     .H = 3,
                     .W = 4,
                     .C0 = 7,
                     .growth = 3,
                     .bottleneck = 9,
                     .layers = 3,
                     .batch_statistics = batch},
                    {0, 1, 3}});
    list.push_back({{.N = 2,
                     .H = 5,
                     .W = 4,
                     .C0 = 16,
                     .growth = 8,
                     .bottleneck = 16,
                     .layers = 2,
                     .batch_statistics = batch},
                    {0, 2}});
  }
  return list;
}

template <class T>
std::vector<double> all_values(const DenseBlockResult<T>& result) {
  std::vector<double> all;
  const auto add = [&](const std::vector<double>& values) {
    all.insert(all.end(), values.begin(), values.end());
  };
  add(convert_to<double>(result.X));
  for (const auto* table : {&result.mean, &result.variance, &result.dx})
    add(convert_to<double>(*table));
  for (const auto* list :
       {&result.dgamma1, &result.dbeta1, &result.dw1, &result.dgamma2, &result.dbeta2, &result.dw2})
    for (const auto& values : *list) add(convert_to<double>(values));
  return all;
}

TYPED_TEST(DenseBlockGpu, IsAsExactAsTheUnfusedComposition) {
  using T = TypeParam;
  for (const DenseBlockCase& c : cases()) {
    const DenseBlockData<T> d(c);
    const DenseBlockErrors<T> errors(c, d);
    for (int v = 0; v < kConvVariants; ++v) {
      const auto variant = static_cast<ConvVariant>(v);
      if (!dense_block_supports(kGpu, variant, c.problem, kDTypeOf<T>)) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(variant), c.name()));
      std::vector<double> first;
      const auto once = [&] {
        const GpuStream stream;
        const auto result = fused_dense_block<T, GpuArray>(stream, variant, c, d);
        errors.check(result);
        const std::vector<double> values = all_values(result);
        if (first.empty()) first = values;
        EXPECT_TRUE(same_bits(first, values));
      };
      c.problem.batch_statistics&& c.problem.C0 % 8 == 0 ? for_each_schedule(once)
                                                         : for_one_schedule(once);
    }
  }
}

TYPED_TEST(DenseBlockGpu, AccumulatesOrIgnoresParameterGradients) {
  using T = TypeParam;
  for_one_schedule([] {
    const GpuStream stream;
    const DenseBlockCase c = cases()[0];
    const DenseBlockData<T> d(c);
    const ConvVariant variant = dense_block_choose(kGpu, c.problem, kDTypeOf<T>);
    ASSERT_TRUE(dense_block_supports(kGpu, variant, c.problem, kDTypeOf<T>));
    const auto run = [&](GradMode mode) {
      return fused_dense_block<T, GpuArray>(stream, variant, c, d, mode);
    };
    const auto once = run(GradMode::overwrite), added = run(GradMode::accumulate),
               ignored = run(GradMode::ignore);
    EXPECT_TRUE(same_bits(once.dx, added.dx));
    EXPECT_TRUE(same_bits(once.dx, ignored.dx));
    for (int l = 0; l < c.problem.layers; ++l)
      for (auto list :
           {&DenseBlockResult<T>::dgamma1, &DenseBlockResult<T>::dbeta1, &DenseBlockResult<T>::dw1,
            &DenseBlockResult<T>::dgamma2, &DenseBlockResult<T>::dbeta2, &DenseBlockResult<T>::dw2})
        for (size_t i = 0; i < (once.*list)[l].size(); ++i) {
          const double gradient = (once.*list)[l][i];
          ASSERT_NEAR(gradient + 1, (added.*list)[l][i], 1e-6 * (1 + std::abs(gradient)));
          ASSERT_EQ((ignored.*list)[l][i], 1);  // they held ones
        }
  });
}

}  // namespace
}  // namespace mono
