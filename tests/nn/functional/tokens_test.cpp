// Tokens: their gradients under every rule, and what is refused.
#include "nn/functional/tokens.h"

#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::expect_gradients;
using test::normal_tensor;
using Inputs = std::vector<Variable>;

TEST(TokensGradient, IsTheDifferenceQuotientUnderEveryRule) {
  using enum PositionRule;
  for (const PositionRule rule : {cdcl, dino, deit, timm})
    for (const auto& [H, W] : {std::pair{4, 4}, {2, 2}, {5, 6}}) {
      ParameterArena arena;
      const Parameter& cls = arena.add("cls_token", {1, 1, 5}, Init::zeros);
      const Parameter& pos = arena.add("pos_embed", {1, 17, 5}, Init::zeros);
      const Parameter* bias = H == 2 ? nullptr : &arena.add("bias", {5}, Init::zeros, true);
      arena.allocate(DType::f64);
      test::randomise(arena);
      expect_gradients({arena, {normal_tensor({2, H, W, 5}, 1)}, {0, 2}, {}, 1e-7, 90},
                       [&](const Inputs& x, const ForwardContext& context) {
                         return tokens(x[0], cls, pos, rule, context, bias);
                       });
    }
}

TEST(ClassTokenGradient, IsTheDifferenceQuotient) {
  ParameterArena none;
  none.allocate(DType::f64);
  expect_gradients(
      {none, {normal_tensor({3, 4, 5}, 1)}, {0, 3}, {}, 1e-7, 60},
      [&](const Inputs& x, const ForwardContext& context) { return class_token(x[0], context); });
}

TEST(Tokens, RefuseAnEmbeddingThatIsNoSquareGrid) {
  ParameterArena arena;
  const Parameter& cls = arena.add("cls_token", {1, 1, 5}, Init::zeros);
  const Parameter& pos = arena.add("pos_embed", {1, 16, 5}, Init::zeros);
  arena.allocate(DType::f64);
  EXPECT_THROW(tokens(Variable(normal_tensor({2, 4, 4, 5}, 1)), cls, pos, PositionRule::cdcl, {}),
               Error);
}

}  // namespace
}  // namespace mono
