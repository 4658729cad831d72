// Domain batch norm: gradients in every configuration, statistics by segment, errors.
#include "nn/domain/domain_batch_norm.h"

#include <gmock/gmock.h>

#include "nn/functional/convolution.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::expect_gradients;
using test::GradientCheck;
using test::normal_tensor;
using testing::HasSubstr;
using Inputs = std::vector<Variable>;

constexpr int kChannels = 5;

struct DomainBatchNormTest : testing::Test {
  DomainBatchNormTest() {
    norm = &norms.add(arena, "features.norm0", kChannels);
    conv = &arena.add("conv", {kChannels, 3, 3, 4}, Init::kaiming_normal_fan_in);
  }
  void start() {
    arena.allocate(DType::f64);
    test::randomise(arena);
  }
  NormStatistics table() {
    NormStatistics statistics(norms, 3, DType::f64);
    const Tensor noise = normal_tensor(statistics.mean().shape(), 5);
    for (int64_t i = 0; i < noise.elements(); ++i) {
      statistics.mean().data<double>()[i] = 0.5 * noise.data<double>()[i];
      statistics.variance().data<double>()[i] = 0.5 + std::abs(noise.data<double>()[i]);
    }
    return statistics;
  }
  ParameterArena arena;
  NormLayers norms;
  const NormLayer* norm;
  const Parameter* conv;
};

// One norm without a convolution beside it.
struct Alone {
  Alone() {
    norm = &norms.add(arena, "norm", kChannels);
    arena.allocate(DType::f64);
    test::randomise(arena);
  }
  ParameterArena arena;
  NormLayers norms;
  const NormLayer* norm;
};

const std::vector<int> kUneven = {0, 2, 5, 6};

TEST(DomainBatchNorm, GradientWithBatchStatisticsOfUnevenSegments) {
  Alone a;
  for (const bool relu : {false, true})
    expect_gradients({a.arena, {normal_tensor({6, 3, 2, kChannels}, 1)}, kUneven},
                     [&](const Inputs& x, const ForwardContext& context) {
                       return domain_batch_norm(x[0], *a.norm, context, {.relu = relu});
                     });
}

TEST(DomainBatchNorm, GradientOfVectors) {
  Alone a;
  expect_gradients({a.arena, {normal_tensor({7, kChannels}, 2)}, {0, 3, 7}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     return domain_batch_norm(x[0], *a.norm, context);
                   });
}

TEST(DomainBatchNorm, GradientWithAResidual) {
  Alone a;
  for (const bool relu : {false, true})
    expect_gradients(
        {a.arena,
         {normal_tensor({6, 2, 3, kChannels}, 3), normal_tensor({6, 2, 3, kChannels}, 4)},
         kUneven},
        [&](const Inputs& x, const ForwardContext& context) {
          return domain_batch_norm(x[0], *a.norm, context, {.relu = relu, .residual = x[1]});
        });
}

TEST(DomainBatchNorm, GradientWhereTheInputIsItsOwnResidual) {
  Alone a;
  expect_gradients({a.arena, {normal_tensor({6, 2, 3, kChannels}, 3)}, kUneven},
                   [&](const Inputs& x, const ForwardContext& context) {
                     return domain_batch_norm(x[0], *a.norm, context, {.residual = x[0]});
                   });
}

TEST_F(DomainBatchNormTest, GradientWithMomentsOfTheProducer) {
  start();
  expect_gradients({arena, {normal_tensor({6, 4, 3, 4}, 6)}, kUneven},
                   [&](const Inputs& x, const ForwardContext& context) {
                     const auto y =
                         convolution(x[0], *conv, context, {.pad = 1, .want_moments = true});
                     return domain_batch_norm(y.y, *norm, context, {.known = y.moments});
                   });
}

TEST_F(DomainBatchNormTest, GradientWithStatisticsOfATable) {
  start();
  const NormStatistics statistics = table();
  const std::vector<int> rows = {2, 0, 2};
  GradientCheck check{arena, {normal_tensor({6, 4, 3, 4}, 6)}, kUneven};
  check.norm = {.source = NormPolicy::Source::table, .table = &statistics, .row_of_segment = rows};
  expect_gradients(check, [&](const Inputs& x, const ForwardContext& context) {
    return domain_batch_norm(convolution(x[0], *conv, context, {.pad = 1}).y, *norm, context);
  });
}

TEST_F(DomainBatchNormTest, EachSegmentIsNormalisedWithItsOwnStatistics) {
  start();
  arena.initialise(1);  // gamma 1, beta 0
  const Tensor x = normal_tensor({6, 3, 2, kChannels}, 7);
  for (int64_t i = 0; i < x.elements() / 3; ++i) x.data<double>()[i] = 40 * x.data<double>()[i] + 7;
  ForwardContext context;
  context.segments = {3, kUneven.data()};
  NormStatistics recorded(norms, 5, DType::f64);
  context.norm.record = &recorded;
  context.norm.record_row = 1;
  const Variable y = domain_batch_norm(Variable(x), *norm, context, {.relu = false});
  for (int s = 0; s < 3; ++s) {
    const Tensor part = y.value().images(kUneven[s], kUneven[s + 1]);
    const double pixels = static_cast<double>(part.shape().rows());
    EXPECT_EQ(recorded.count(1 + s, norm->index), pixels);
    for (int c = 0; c < kChannels; ++c) {
      double mean = 0, square = 0;
      for (int64_t p = 0; p < part.shape().rows(); ++p) {
        const double v = part.data<double>()[p * kChannels + c];
        mean += v / pixels;
        square += v * v / pixels;
      }
      EXPECT_NEAR(mean, 0, 1e-12);
      EXPECT_NEAR(square, 1, 1e-4);  // eps
    }
  }
  EXPECT_EQ(recorded.count(0, 0), 0) << "rows before record_row are not touched";
  EXPECT_EQ(recorded.count(4, 0), 0);
  EXPECT_EQ(recorded.variance().data<double>()[0], 1.0);
}

TEST_F(DomainBatchNormTest, ATableGivesEachSegmentItsRow) {
  start();
  const NormStatistics statistics = table();
  const std::vector<int> rows = {2, 0, 1};
  ForwardContext context;
  context.segments = {3, kUneven.data()};
  context.norm = {
      .source = NormPolicy::Source::table, .table = &statistics, .row_of_segment = rows};
  const Tensor x = normal_tensor({6, 1, 2, kChannels}, 8);
  const Variable y = domain_batch_norm(Variable(x), *norm, context, {.relu = false});
  for (int n = 0; n < 6; ++n)
    for (int p = 0; p < 2; ++p)
      for (int c = 0; c < kChannels; ++c) {
        const int row = rows[n < 2 ? 0 : n < 5 ? 1 : 2];
        const int64_t column = row * norms.columns() + norm->offset + c;
        const int64_t i = (n * 2 + p) * kChannels + c;
        const double expected =
            norm->gamma->weights<double>()[c] *
                (x.data<double>()[i] - statistics.mean().data<double>()[column]) /
                std::sqrt(statistics.variance().data<double>()[column] + 1e-5) +
            norm->beta->weights<double>()[c];
        EXPECT_NEAR(y.value().data<double>()[i], expected, 1e-12);
      }
}

TEST_F(DomainBatchNormTest, RefusesWhatItCannotNormalise) {
  start();
  const auto message = [&](const Tensor& x, const std::vector<int>& offsets,
                           const DomainBatchNormOptions& options = {}) -> std::string {
    ForwardContext context;
    context.segments = {static_cast<int>(offsets.size()) - 1, offsets.data()};
    try {
      domain_batch_norm(Variable(x), *norm, context, options);
    } catch (const Error& error) {
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message(normal_tensor({3, kChannels}, 1), {0, 2, 3}),
              HasSubstr("features.norm0: segment 1 has a single value a channel"));
  EXPECT_THAT(message(normal_tensor({3, kChannels}, 1), {0, 2}),
              HasSubstr("features.norm0: 1 segments do not cover the 3 images"));
  EXPECT_THAT(message(normal_tensor({3, 7}, 1), {0, 3}),
              HasSubstr("batch norm features.norm0 of 5 channels: input is f64 (3, 7)"));
  EXPECT_THAT(message(normal_tensor({3, kChannels}, 1), {0, 3},
                      {.residual = Variable(normal_tensor({2, kChannels}, 1))}),
              HasSubstr("residual f64 (2, 5) does not fit the input f64 (3, 5)"));
}

}  // namespace
}  // namespace mono
