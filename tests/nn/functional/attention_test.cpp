// Attention through the tape: gradients against finite differences, what it keeps, what it refuses.
#include "nn/functional/attention.h"

#include <gmock/gmock.h>

#include <utility>

#include "tests/kernels/gpu_test.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::expect_gradients;
using test::normal_tensor;
using testing::HasSubstr;
using Inputs = std::vector<Variable>;

class AttentionGradient : public testing::TestWithParam<Shape> {};

TEST_P(AttentionGradient, IsTheDifferenceQuotient) {
  const Shape shape = GetParam();
  ParameterArena arena;
  arena.allocate(DType::f64);
  const int heads = shape[2] / 24;
  expect_gradients({arena, {normal_tensor(shape, 1)}, {0, shape[0]}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     return attention(x[0], heads, context);
                   });
}

INSTANTIATE_TEST_SUITE_P(Cases, AttentionGradient,
                         testing::Values(Shape{2, 5, 24}, Shape{1, 9, 48}));

// Used twice, its gradient is the sum: the second contribution is added to the first.
TEST(Attention, GradientsOfTwoUsesAddUp) {
  const Tensor input = normal_tensor({2, 3, 24}, 1);
  const auto gradient = [&](int uses) {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable qkv(input, true);
    for (int i = 0; i < uses; ++i)
      attention(qkv, 1, context).seed_grad(normal_tensor({2, 3, 8}, 2));
    tape.backward();
    return qkv.grad();
  };
  const Tensor once = gradient(1), twice = gradient(2);
  for (int64_t i = 0; i < once.elements(); ++i)
    EXPECT_EQ(twice.data<double>()[i], 2 * once.data<double>()[i]) << i;
}

TEST(Attention, KeepsItsInputItsResultAndOneNumberARow) {
  const Variable qkv(normal_tensor({2, 7, 3 * 16}, 1, DType::f32), true);
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable out = attention(qkv, 2, context);
  EXPECT_EQ(out.shape(), (Shape{2, 7, 16}));
  EXPECT_EQ(tape.saved_bytes().at("attention"), 4 * 2 * 7 * (48 + 16 + 2));
}

TEST(Attention, WithoutATapeTheSameResult) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const Tensor qkv = normal_tensor({2, 7, 3 * 16}, 1, dtype);
    Tape tape;
    ForwardContext context;
    const Tensor plain = attention(Variable(qkv), 2, context).value();
    context.tape = &tape;
    const Tensor taped = attention(Variable(qkv, true), 2, context).value();
    EXPECT_EQ(std::memcmp(plain.raw(), taped.raw(), static_cast<size_t>(plain.bytes())), 0);
  }
}

// Through the tape on the GPU, with the variant that is chosen there.
TEST(AttentionGpu, IsNearTheCpu) {
  const auto run = [](DType dtype, Device device) {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable qkv(normal_tensor({2, 19, 3 * 32}, 1, dtype).to(device), true);
    const Variable out = attention(qkv, 2, context);
    out.seed_grad(normal_tensor({2, 19, 32}, 2, dtype).to(device));
    tape.backward();
    return std::pair(out.value().to(Device::cpu), qkv.grad().to(Device::cpu));
  };
  const auto expect_near = [](const Tensor& got, const Tensor& want, double tolerance) {
    dispatch_activation(want.dtype(), [&]<class T>() {
      for (int64_t i = 0; i < want.elements(); ++i)
        EXPECT_NEAR(static_cast<double>(static_cast<Master<T>>(got.data<T>()[i])),
                    static_cast<double>(static_cast<Master<T>>(want.data<T>()[i])), tolerance);
    });
  };
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const auto want = run(dtype, Device::cpu);
    test::for_each_schedule([&] {
      const auto got = run(dtype, kGpu);
      const double tolerance = dtype == DType::bf16 ? 4e-2 : 1e-5;
      expect_near(got.first, want.first, tolerance);
      expect_near(got.second, want.second, tolerance);
    });
  }
}

TEST(Attention, RefusesShapesThatAreNoHeads) {
  const auto message = [](const Shape& shape, int heads) -> std::string {
    try {
      attention(Variable(Tensor::zeros(shape, DType::f32)), heads, ForwardContext{});
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage);
      return error.what();
    }
    return "no error";
  };
  EXPECT_THAT(message({2, 7, 48}, 5), HasSubstr("3 x 5 heads"));
  EXPECT_THAT(message({14, 48}, 2), HasSubstr("(14, 48)"));
  EXPECT_THAT(message({2, 7, 36}, 1), HasSubstr("1 heads of 12 elements"));
  EXPECT_THAT(message({1, 2, 3 * 136}, 1), HasSubstr("128 at most"));
}

}  // namespace
}  // namespace mono
