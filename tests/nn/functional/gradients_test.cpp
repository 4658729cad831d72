// Every function of nn/functional against finite differences in f64, and what it refuses.
#include <gmock/gmock.h>

#include "nn/functional/convolution.h"
#include "nn/functional/cross_entropy.h"
#include "nn/functional/dense_block.h"
#include "nn/functional/linear.h"
#include "nn/functional/pooling.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::expect_gradients;
using test::GradientCheck;
using test::normal_tensor;
using testing::HasSubstr;
using Inputs = std::vector<Variable>;

void start(ParameterArena& arena) {
  arena.allocate(DType::f64);
  test::randomise(arena);
}

template <class F>
std::string message_of(F&& f, ErrorKind kind) {
  try {
    f();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), kind);
    return error.what();
  }
  return "no error";
}

struct ConvCase {
  int size, C, K, window, stride, pad;
};
class ConvolutionGradient : public testing::TestWithParam<ConvCase> {};

TEST_P(ConvolutionGradient, IsTheDifferenceQuotient) {
  const ConvCase c = GetParam();
  ParameterArena arena;
  const Parameter& w = arena.add("w", {c.K, c.window, c.window, c.C}, Init::kaiming_normal_fan_in);
  start(arena);
  expect_gradients({arena, {normal_tensor({3, c.size, c.size + 1, c.C}, 1)}, {0, 1, 3}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     return convolution(x[0], w, context, {.stride = c.stride, .pad = c.pad}).y;
                   });
}

INSTANTIATE_TEST_SUITE_P(Cases, ConvolutionGradient,
                         testing::Values(ConvCase{5, 3, 4, 3, 1, 1}, ConvCase{6, 2, 3, 3, 2, 1},
                                         ConvCase{9, 6, 3, 7, 2, 3}, ConvCase{4, 7, 5, 1, 1, 0},
                                         ConvCase{5, 4, 3, 1, 2, 0}));

TEST(Convolution, ItsMomentsAreThoseOfItsOutputBySegment) {
  ParameterArena arena;
  const Parameter& w = arena.add("w", {3, 3, 3, 2}, Init::kaiming_normal_fan_in);
  start(arena);
  const std::vector<int> offsets = {0, 1, 3};
  ForwardContext context;
  context.segments = {2, offsets.data()};
  const Variable x(normal_tensor({3, 5, 5, 2}, 1));
  const ConvolutionResult result = convolution(x, w, context, {.pad = 1, .want_moments = true});
  for (int s = 0; s < 2; ++s)
    for (int c = 0; c < 3; ++c) {
      const Tensor y = result.y.value().images(offsets[s], offsets[s + 1]);
      const double pixels = static_cast<double>(y.shape().rows());
      double mean = 0, variance = 0;
      for (int64_t p = 0; p < y.shape().rows(); ++p) mean += y.data<double>()[p * 3 + c] / pixels;
      for (int64_t p = 0; p < y.shape().rows(); ++p) {
        const double d = y.data<double>()[p * 3 + c] - mean;
        variance += d * d / pixels;
      }
      EXPECT_NEAR(result.moments.mean.data<double>()[s * 3 + c], mean, 1e-12);
      EXPECT_NEAR(result.moments.variance.data<double>()[s * 3 + c], variance, 1e-12);
    }
  context.norm.source = NormPolicy::Source::table;  // nobody reads them then
  EXPECT_FALSE(convolution(x, w, context, {.pad = 1, .want_moments = true}).moments);
}

TEST(Convolution, ImagesThatWantNoGradientGetNone) {
  ParameterArena arena;
  const Parameter& w = arena.add("w", {2, 3, 3, 2}, Init::kaiming_normal_fan_in);
  start(arena);
  const std::vector<int> offsets = {0, 1};
  Tape tape;
  ForwardContext context{&tape, {1, offsets.data()}, {}};
  const Variable x(normal_tensor({1, 4, 4, 2}, 1));
  const Variable y = convolution(x, w, context).y;
  y.seed_grad(normal_tensor(y.shape(), 2));
  const Tensor gradients = arena.new_array();
  arena.begin_gradients(gradients);
  tape.backward();
  arena.finish_gradients();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_NE(gradients.data<double>()[0], 0.0);
}

TEST(Convolution, NamesBothShapesWhereTheyDoNotFit) {
  ParameterArena arena;
  const Parameter& w = arena.add("conv.weight", {2, 3, 3, 4}, Init::kaiming_normal_fan_in);
  start(arena);
  const ForwardContext context;
  EXPECT_THAT(message_of(
                  [&] {
                    convolution(Variable(normal_tensor({1, 4, 4, 2}, 1)), w, context);
                  },
                  ErrorKind::internal),
              HasSubstr("conv.weight: filter (K,R,S,C) (2, 3, 3, 4) does not fit the input f64 "
                        "(1, 4, 4, 2)"));
  EXPECT_THAT(message_of(
                  [&] {
                    convolution(Variable(normal_tensor({1, 2, 4, 4}, 1)), w, context);
                  },
                  ErrorKind::usage),
              HasSubstr("3x3 filter does not fit the 2x4 input; the image size is too small"));
}

TEST(LinearGradient, IsTheDifferenceQuotient) {
  for (const bool with_bias : {true, false}) {
    ParameterArena arena;
    const Parameter& w = arena.add("w", {5, 7}, Init::linear_uniform);
    const Parameter* bias =
        with_bias ? &arena.add("bias", {5}, Init::linear_uniform, true, 7) : nullptr;
    start(arena);
    expect_gradients({arena, {normal_tensor({4, 7}, 1)}, {0, 4}},
                     [&](const Inputs& x, const ForwardContext& context) {
                       return linear(x[0], w, bias, context);
                     });
  }
}

TEST(LinearGradient, OfOneLayerUsedTwiceIsTheSum) {
  ParameterArena arena;
  const Parameter& w = arena.add("w", {6, 6}, Init::linear_uniform);
  const Parameter& bias = arena.add("bias", {6}, Init::linear_uniform, true, 6);
  start(arena);
  expect_gradients({arena, {normal_tensor({3, 6}, 1)}, {0, 3}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     return linear(linear(x[0], w, &bias, context), w, &bias, context);
                   });
}

TEST(PoolingGradient, IsTheDifferenceQuotient) {
  ParameterArena none;
  none.allocate(DType::f64);
  const std::vector<int> offsets = {0, 2};
  expect_gradients({none, {normal_tensor({2, 7, 6, 3}, 1)}, offsets},
                   [](const Inputs& x, const ForwardContext& context) {
                     return max_pool(x[0], 3, 2, 1, context);
                   });
  expect_gradients({none, {normal_tensor({2, 7, 6, 3}, 2)}, offsets},
                   [](const Inputs& x, const ForwardContext& context) {
                     return average_pool(x[0], 2, 2, context);
                   });
  expect_gradients({none, {normal_tensor({2, 3, 5, 4}, 3)}, offsets},
                   [](const Inputs& x, const ForwardContext& context) {
                     return global_average_pool(x[0], context);
                   });
}

TEST(Pooling, RefusesAnImageSmallerThanItsWindow) {
  const ForwardContext context;
  EXPECT_THAT(message_of(
                  [&] {
                    average_pool(Variable(normal_tensor({1, 1, 4, 2}, 1)), 2, 2, context);
                  },
                  ErrorKind::usage),
              HasSubstr("average_pool: a 2x2 window does not fit the input f64 (1, 1, 4, 2)"));
}

struct DenseBlockGradient : testing::TestWithParam<bool> {};

TEST_P(DenseBlockGradient, IsTheDifferenceQuotientWithEitherPolicy) {
  const bool batch = GetParam();
  ParameterArena arena;
  NormLayers norms;
  std::vector<DenseLayer> layers(3);
  for (int l = 0; l < 3; ++l) {
    const std::string name = "layer" + std::to_string(l) + ".";
    const int width = 5 + 2 * l;
    layers[l].norm1 = &norms.add(arena, name + "norm1", width);
    layers[l].conv1 = &arena.add(name + "conv1", {4, 1, 1, width}, Init::kaiming_normal_fan_in);
    layers[l].norm2 = &norms.add(arena, name + "norm2", 4);
    layers[l].conv2 = &arena.add(name + "conv2", {2, 3, 3, 4}, Init::kaiming_normal_fan_in);
  }
  start(arena);
  NormStatistics table(norms, 2, DType::f64);
  const Tensor noise = normal_tensor(table.mean().shape(), 8);
  for (int64_t i = 0; i < noise.elements(); ++i) {
    table.mean().data<double>()[i] = 0.3 * noise.data<double>()[i];
    table.variance().data<double>()[i] = 0.5 + std::abs(noise.data<double>()[i]);
  }
  const std::vector<int> rows = {1, 0};
  GradientCheck check{arena, {normal_tensor({3, 4, 3, 5}, 1)}, {0, 1, 3}};
  check.elements = 16;
  if (!batch)
    check.norm = {.source = NormPolicy::Source::table, .table = &table, .row_of_segment = rows};
  expect_gradients(check, [&](const Inputs& x, const ForwardContext& context) {
    return dense_block(x[0], layers, context).x;
  });
}

INSTANTIATE_TEST_SUITE_P(Policies, DenseBlockGradient, testing::Bool());

TEST(CrossEntropy, LossAndGradientWithSoftTargets) {
  const int N = 4, K = 5;
  const Tensor logits = normal_tensor({N, K}, 1), targets = Tensor::empty({N, K}, DType::f32);
  for (int n = 0; n < N; ++n)
    for (int k = 0; k < K; ++k)
      targets.data<float>()[n * K + k] = n == 0 ? float(k == 3) : 0.125f * float(k) - 0.05f;
  const double weight = 0.3;
  const auto definition = [&] {
    double loss = 0;
    for (int n = 0; n < N; ++n) {
      double sum = 0;
      for (int k = 0; k < K; ++k) sum += std::exp(logits.data<double>()[n * K + k]);
      for (int k = 0; k < K; ++k)
        loss += double(targets.data<float>()[n * K + k]) *
                (std::log(sum) - logits.data<double>()[n * K + k]);
    }
    return weight * loss / N;
  };
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable y(logits, true);
  EXPECT_NEAR(soft_cross_entropy(y, targets, weight, context), definition(), 1e-12);
  tape.backward();
  for (int64_t i = 0; i < N * K; ++i) {
    double& value = logits.data<double>()[i];
    const double before = value;
    context.tape = nullptr;
    value = before + 1e-5;
    const double up = soft_cross_entropy(Variable(logits), targets, weight, context);
    value = before - 1e-5;
    const double down = soft_cross_entropy(Variable(logits), targets, weight, context);
    value = before;
    EXPECT_NEAR(y.grad().data<double>()[i], (up - down) / 2e-5, 1e-9) << i;
  }
}

TEST(CrossEntropy, RefusesTargetsOfAnotherShape) {
  const ForwardContext context;
  EXPECT_THAT(message_of(
                  [&] {
                    soft_cross_entropy(Variable(normal_tensor({2, 3}, 1)),
                                       Tensor::zeros({2, 4}, DType::f32), 1, context);
                  },
                  ErrorKind::internal),
              HasSubstr("targets f32 (2, 4) do not fit the logits f64 (2, 3)"));
}

}  // namespace
}  // namespace mono
