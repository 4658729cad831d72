// Gradient reversal and detachment: exactly -lambda, exactly nothing.
#include "nn/domain/gradient_reversal.h"

#include <gtest/gtest.h>

#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::normal_tensor;

TEST(GradientReversal, IsTheIdentityForwardAndMinusLambdaBackward) {
  for (const double lambda : {1.0, 0.25, 0.1, 0.0}) {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable x(normal_tensor({3, 4}, 1), true);
    const Variable y = gradient_reversal(x, lambda, context);
    EXPECT_EQ(y.value().raw(), x.value().raw());
    y.seed_grad(normal_tensor({3, 4}, 2));
    tape.backward();
    const Tensor dy = normal_tensor({3, 4}, 2);
    for (int i = 0; i < 12; ++i)
      EXPECT_EQ(x.grad().data<double>()[i], -lambda * dy.data<double>()[i]);
  }
}

TEST(GradientReversal, AddsToWhatOtherBranchesLeft) {
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable x(normal_tensor({3, 4}, 1), true);
  const Variable reversed = gradient_reversal(x, 0.5, context);
  const Variable straight = gradient_reversal(x, -1, context);  // the identity
  reversed.seed_grad(normal_tensor({3, 4}, 2));
  straight.seed_grad(normal_tensor({3, 4}, 3));
  tape.backward();
  const Tensor a = normal_tensor({3, 4}, 2), b = normal_tensor({3, 4}, 3);
  for (int i = 0; i < 12; ++i)
    EXPECT_EQ(x.grad().data<double>()[i], b.data<double>()[i] + -0.5 * a.data<double>()[i]);
}

TEST(GradientReversal, WithoutATapeNothingIsRecorded) {
  const Variable y = gradient_reversal(Variable(normal_tensor({2, 2}, 1), true), 1, {});
  EXPECT_FALSE(y.requires_grad());
}

TEST(Detach, PassesTheValueAndNoGradient) {
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable x(normal_tensor({3, 4}, 1), true);
  const Variable cut = detach(x);
  EXPECT_EQ(cut.value().raw(), x.value().raw());
  EXPECT_FALSE(cut.requires_grad());
  const Variable y = gradient_reversal(cut, 1, context);
  y.seed_grad(normal_tensor({3, 4}, 2));
  tape.backward();
  EXPECT_FALSE(x.grad().defined());
  EXPECT_EQ(tape.entries(), 0u);
}

}  // namespace
}  // namespace mono
