#include "kernels/dense_block/dense_block.h"

#include "tests/kernels/dense_block_cases.h"

namespace mono {
namespace {

using namespace test;

template <class T>
DenseBlockResult<T> fused(ConvVariant variant, const DenseBlockCase& c, const DenseBlockData<T>& d,
                          GradMode mode = GradMode::overwrite) {
  return fused_dense_block<T, CpuArray>(Stream{}, variant, c, d, mode);
}

TEST(DenseBlock, EqualsTheUnfusedCompositionInF64) {
  for (const DenseBlockCase& c : dense_block_cases()) {
    SCOPED_TRACE(c.name());
    const DenseBlockData<double> d(c);
    const DenseBlockResult<double> want = UnfusedDenseBlock<double>(c, d).run();
    DenseBlockResult<double>::compare(fused(ConvVariant::reference, c, d), want,
                                      [](const char* what, const auto& a, const auto& b) {
                                        EXPECT_LE(error_of(a, b), 1e-10) << what;
                                      });
  }
}

// Central differences of sum(X * dX), over the input and every parameter.
TEST(DenseBlock, GradientsMatchFiniteDifferences) {
  for (bool batch : {true, false}) {
    const DenseBlockCase c{{.N = 3,
                            .H = 3,
                            .W = 2,
                            .C0 = 3,
                            .growth = 2,
                            .bottleneck = 4,
                            .layers = 2,
                            .batch_statistics = batch},
                           {0, 2, 3}};
    DenseBlockData<double> d(c);
    const DenseBlockResult<double> at = fused(ConvVariant::reference, c, d);
    const auto loss = [&] {
      const DenseBlockResult<double> now = fused(ConvVariant::reference, c, d);
      double sum = 0;
      for (size_t i = 0; i < now.X.size(); ++i) sum += now.X[i] * d.dX[i];
      return sum;
    };
    const auto check = [&](const char* what, std::vector<double>& values,
                           const std::vector<double>& gradient) {
      for (size_t i = 0; i < values.size(); ++i) {
        const double h = 1e-6, before = values[i];
        values[i] = before + h;
        const double up = loss();
        values[i] = before - h;
        const double down = loss();
        values[i] = before;
        EXPECT_NEAR((up - down) / (2 * h), gradient[i], 1e-6 * (1 + std::abs(gradient[i])))
            << what << " " << i;
      }
    };
    check("x", d.x, at.dx);
    for (int l = 0; l < c.problem.layers; ++l) {
      check("gamma1", d.layers[l].gamma1, at.dgamma1[l]);
      check("beta1", d.layers[l].beta1, at.dbeta1[l]);
      check("w1", d.layers[l].w1, at.dw1[l]);
      check("gamma2", d.layers[l].gamma2, at.dgamma2[l]);
      check("beta2", d.layers[l].beta2, at.dbeta2[l]);
      check("w2", d.layers[l].w2, at.dw2[l]);
    }
  }
}

template <class T>
class DenseBlockVariants : public ::testing::Test {};
using HalfAndSingle = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(DenseBlockVariants, HalfAndSingle);

TYPED_TEST(DenseBlockVariants, AreAsExactAsTheUnfusedComposition) {
  using T = TypeParam;
  for (const DenseBlockCase& c : dense_block_cases())
    for (ConvVariant variant :
         {ConvVariant::reference, ConvVariant::onednn, ConvVariant::implicit_gemm}) {
      if (!dense_block_supports(Device::cpu, variant, c.problem, kDTypeOf<T>)) continue;
      // One channel and a batch norm behind it: dw1 is zero but for eps, and has no scale.
      if (c.problem.C0 == 1) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(variant), c.name()));
      const DenseBlockData<T> d(c);
      DenseBlockErrors<T>(c, d).check(fused(variant, c, d));
    }
}

TEST(DenseBlock, AccumulatesParameterGradients) {
  const DenseBlockCase c = dense_block_cases()[1];
  const DenseBlockData<double> d(c);
  const DenseBlockResult<double> once = fused(ConvVariant::reference, c, d);
  const DenseBlockResult<double> added = fused(ConvVariant::reference, c, d, GradMode::accumulate);
  EXPECT_TRUE(same_bits(once.dx, added.dx));
  for (int l = 0; l < c.problem.layers; ++l)
    for (auto [a, b] : {std::pair{&once.dw1, &added.dw1},
                        {&once.dw2, &added.dw2},
                        {&once.dgamma1, &added.dgamma1},
                        {&once.dbeta1, &added.dbeta1},
                        {&once.dgamma2, &added.dgamma2},
                        {&once.dbeta2, &added.dbeta2}})
      for (size_t i = 0; i < (*a)[l].size(); ++i)
        ASSERT_NEAR((*a)[l][i] + 1.0, (*b)[l][i], 1e-12);  // they held ones
}

template <class T>
class DenseBlockTyped : public ::testing::Test {};
TYPED_TEST_SUITE(DenseBlockTyped, ActivationTypes);

TYPED_TEST(DenseBlockTyped, AnyNumberOfThreadsGivesTheSameBits) {
  using T = TypeParam;
  const DenseBlockCase c{
      {.N = 5, .H = 9, .W = 8, .C0 = 24, .growth = 8, .bottleneck = 32, .layers = 3}, {0, 2, 5}};
  const DenseBlockData<T> d(c);
  for (ConvVariant variant :
       {ConvVariant::reference, ConvVariant::onednn, ConvVariant::implicit_gemm}) {
    if (!dense_block_supports(Device::cpu, variant, c.problem, kDTypeOf<T>)) continue;
    SCOPED_TRACE(name_of(variant));
    same_for_any_threads([&] {
      const DenseBlockResult<T> out = fused(variant, c, d);
      std::vector<double> all = convert_to<double>(out.X);
      const auto add = [&](const auto& values) {
        for (auto v : values) all.push_back(v);
      };
      add(out.dx);
      add(out.mean);
      add(out.variance);
      for (const auto* list :
           {&out.dgamma1, &out.dbeta1, &out.dw1, &out.dgamma2, &out.dbeta2, &out.dw2})
        for (const auto& values : *list) add(values);
      return all;
    });
  }
}

TEST(DenseBlockErrors, TooSmallAWorkspaceIsRefused) {
  const DenseBlockCase c = dense_block_cases()[0];
  std::vector<DenseBlockLayer<float>> layers(1);
  DenseBlockForward<float> args;
  args.layers = layers;
  args.segments = c.segments();
  EXPECT_THROW(dense_block_forward<float>(ConvVariant::reference, c.problem, args, {}), Error);
  EXPECT_EQ(dense_block_choose(Device::cpu, c.problem, DType::f64), ConvVariant::reference);
}

}  // namespace
}  // namespace mono
