// Linear layers with prologue and epilogue: gradients, what the tape keeps, and agreement with the
// same network made of plain functions.
#include "nn/functional/linear.h"

#include "nn/functional/kernel_choice.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::expect_gradients;
using test::normal_tensor;
using Inputs = std::vector<Variable>;

struct Case {
  bool bias, norm, gelu, residual, keep;
};

TEST(LinearGradient, WithEveryPrologueAndEpilogue) {
  const Tensor keep = Tensor::empty({3}, DType::f32);
  const float factors[] = {1.25f, 0, 1.25f};
  std::copy_n(factors, 3, keep.data<float>());
  for (const KernelChoice choice : {KernelChoice::automatic, KernelChoice::reference})
    for (const Case& c :
         {Case{true, true, false, false, false}, Case{true, false, true, true, true},
          Case{false, true, false, true, false}, Case{true, false, false, true, true},
          Case{true, false, false, false, true}, Case{false, false, true, false, false}}) {
      set_kernel_choice(choice);
      ParameterArena arena;
      const Parameter& w = arena.add("w", {5, 7}, Init::linear_uniform);
      const Parameter* bias =
          c.bias ? &arena.add("bias", {5}, Init::linear_uniform, true, 7) : nullptr;
      LayerNorm norm{};
      if (c.norm) {
        norm.weight = &arena.add("norm.weight", {7}, Init::ones, true);
        norm.bias = &arena.add("norm.bias", {7}, Init::zeros, true);
      }
      arena.allocate(DType::f64);
      test::randomise(arena);
      std::vector<Tensor> inputs;
      inputs.push_back(normal_tensor({3, 4, 7}, 1));
      if (c.residual) inputs.push_back(normal_tensor({3, 4, 5}, 2));
      expect_gradients({arena, inputs, {0, 3}},
                       [&](const Inputs& x, const ForwardContext& context) {
                         LinearOptions options{.bias = bias, .gelu = c.gelu};
                         if (c.norm) options.layer_norm = &norm;
                         if (c.residual) options.residual = x[1];
                         if (c.keep) options.keep = keep;
                         return linear(x[0], w, options, context);
                       });
    }
  set_kernel_choice(KernelChoice::automatic);
}

TEST(LinearGradient, OfAResidualThatIsTheInput) {
  ParameterArena arena;
  const Parameter& w = arena.add("w", {6, 6}, Init::linear_uniform);
  arena.allocate(DType::f64);
  test::randomise(arena);
  expect_gradients({arena, {normal_tensor({3, 6}, 1)}, {0, 3}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     const Variable y = linear(x[0], w, {.residual = x[0]}, context);
                     return linear(y, w, {.gelu = true, .residual = y}, context);
                   });
}

TEST(LayerNormGradient, IsTheDifferenceQuotient) {
  ParameterArena arena;
  const LayerNorm norm{&arena.add("weight", {19}, Init::ones, true),
                       &arena.add("bias", {19}, Init::zeros, true)};
  arena.allocate(DType::f64);
  test::randomise(arena);
  expect_gradients({arena, {normal_tensor({2, 3, 19}, 1)}, {0, 2}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     return layer_norm(x[0], norm, context);
                   });
}

TEST(GeluGradient, IsTheDifferenceQuotient) {
  ParameterArena none;
  none.allocate(DType::f64);
  expect_gradients(
      {none, {normal_tensor({5, 9}, 1)}, {0, 5}},
      [&](const Inputs& x, const ForwardContext& context) { return gelu(x[0], context); });
}

// The linear layers of a transformer block of width D; what stands for attention keeps nothing.
struct Block {
  static constexpr int D = 64;
  ParameterArena arena;
  const Parameter *qkv, *proj, *fc1, *fc2;
  LayerNorm norm1, norm2;

  explicit Block(DType master) {
    const auto matrix = [&](const char* name, int out, int in) {
      return &arena.add(name, {out, in}, Init::linear_uniform);
    };
    const auto vector = [&](const std::string& name, Init init) {
      return &arena.add(name, {D}, init, true);
    };
    norm1 = {vector("norm1.weight", Init::ones), vector("norm1.bias", Init::zeros)};
    qkv = matrix("qkv", 3 * D, D);
    proj = matrix("proj", D, 3 * D);
    norm2 = {vector("norm2.weight", Init::ones), vector("norm2.bias", Init::zeros)};
    fc1 = matrix("fc1", 4 * D, D);
    fc2 = matrix("fc2", D, 4 * D);
    arena.allocate(master);
    test::randomise(arena);
  }
  Variable forward(const Variable& x, const ForwardContext& context) const {
    const Variable h = linear(x, *qkv, {.layer_norm = &norm1}, context);
    const Variable a = linear(h, *proj, {.residual = x}, context);
    const Variable m = linear(a, *fc1, {.layer_norm = &norm2}, context);
    return linear(m, *fc2, {.gelu = true, .residual = a}, context);
  }
};

TEST(TransformerBlock, KeepsTenTimesItsWidthAToken) {
  const Block block(DType::f32);
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  constexpr int kTokens = 200;  // beside which the allocator's rounding is small
  block.forward(Variable(normal_tensor({2, kTokens, Block::D}, 1, DType::bf16), true), context);
  // x, qkv, x', h: 1 + 3 + 1 + 4 (attention's output, the tenth, is not here); 4 floats of
  // statistics.
  const int64_t wanted = 2 * kTokens * (9 * Block::D * 2 + 4 * 4);
  int64_t kept = 0;
  for (const auto& [op, bytes] : tape.saved_bytes()) kept += bytes;
  EXPECT_GE(kept, wanted);
  EXPECT_LE(kept, wanted + 4096);
}

TEST(TransformerBlock, IsTheSameAsPlainFunctions) {
  const Block block(DType::f64);
  const Tensor x = normal_tensor({2, 5, Block::D}, 1);
  const auto run = [&](bool plain) {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable in(x, true);
    Variable y;
    if (plain) {
      const Variable h = linear(layer_norm(in, block.norm1, context), *block.qkv, nullptr, context);
      const Variable a = linear(h, *block.proj, {.residual = in}, context);
      const Variable m = linear(layer_norm(a, block.norm2, context), *block.fc1, nullptr, context);
      y = linear(gelu(m, context), *block.fc2, {.residual = a}, context);
    } else {
      y = block.forward(in, context);
    }
    y.seed_grad(normal_tensor(y.shape(), 2));
    auto& arena = const_cast<ParameterArena&>(block.arena);
    const Tensor gradients = arena.new_array();
    arena.begin_gradients(gradients);
    tape.backward();
    arena.finish_gradients();
    std::vector<double> all(y.value().span<double>().begin(), y.value().span<double>().end());
    for (const Tensor& t : {in.grad(), gradients})
      all.insert(all.end(), t.data<double>(), t.data<double>() + t.elements());
    return all;
  };
  const std::vector<double> fused = run(false), plain = run(true);
  ASSERT_EQ(fused.size(), plain.size());
  for (size_t i = 0; i < fused.size(); ++i)
    ASSERT_NEAR(fused[i], plain[i], 1e-11 * (1 + std::abs(plain[i]))) << i;
}

TEST(Linear, RefusesWhatDoesNotFit) {
  ParameterArena arena;
  const Parameter& w = arena.add("fc.weight", {5, 7}, Init::linear_uniform);
  const Parameter& bias = arena.add("fc.bias", {4}, Init::zeros, true);
  arena.allocate(DType::f64);
  const Variable x(normal_tensor({3, 2, 7}, 1));
  EXPECT_THROW(linear(Variable(normal_tensor({3, 6}, 1)), w, nullptr, {}), Error);
  EXPECT_THROW(linear(x, w, &bias, {}), Error);
  EXPECT_THROW(linear(x, w, {.residual = x}, {}), Error);
  EXPECT_THROW(linear(x, w, {.keep = Tensor::zeros({2}, DType::f32)}, {}), Error);
  const LayerNorm norm{&bias, &bias};
  EXPECT_THROW(linear(x, w, {.layer_norm = &norm}, {}), Error);
}

}  // namespace
}  // namespace mono
