// Gradients of differentiable functions in f64 against central differences, through the tape.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "kernels/base/philox.h"
#include "nn/context.h"

namespace mono::test {

// Standard normal values of a stream.
inline Tensor normal_tensor(const Shape& shape, uint32_t stream, DType dtype = DType::f64) {
  Philox random(4711, Purpose::test, stream);
  const Tensor t = Tensor::empty(shape, dtype);
  dispatch_activation(dtype, [&]<class T>() {
    for (int64_t i = 0; i < t.elements(); ++i)
      t.data<T>()[i] = static_cast<T>(static_cast<Master<T>>(random.normal()));
  });
  return t;
}

// Replaces all weights by ones that no gradient vanishes at: filters normal, norms about 1 and 0.
inline void randomise(ParameterArena& arena) {
  Philox random(99, Purpose::test);
  for (const Parameter& p : arena.parameters()) {
    const Tensor piece = arena.view(arena.weights(), p);
    dispatch_master(arena.master(), [&]<class M>() {
      for (M& w : piece.span<M>())
        w = static_cast<M>((p.init == Init::ones ? 1 : 0) + 0.4 * random.normal());
    });
  }
}

struct GradientCheck {
  ParameterArena& arena;  // f64; its parameters are checked, too
  std::vector<Tensor> inputs;
  std::vector<int> offsets;  // of the segments
  NormPolicy norm = {};
  double tolerance = 1e-7;  // of the largest gradient of the tensor
  int elements = 40;        // checked of each tensor, spread evenly
};

// f(const std::vector<Variable>& inputs, const ForwardContext& context) returns the output; what is
// differentiated is its product with fixed normal values.
template <class F>
void expect_gradients(const GradientCheck& check, F&& f) {
  ForwardContext context;
  context.segments = {static_cast<int>(check.offsets.size()) - 1, check.offsets.data()};
  context.norm = check.norm;

  std::vector<Variable> inputs;
  for (const Tensor& t : check.inputs) inputs.emplace_back(t, true);
  Tape tape;
  context.tape = &tape;
  const Variable y = f(inputs, context);
  const Tensor dy = normal_tensor(y.shape(), 77), seed = normal_tensor(y.shape(), 77);
  y.seed_grad(seed);  // backward may overwrite it
  const Tensor gradients = check.arena.new_array();
  check.arena.begin_gradients(gradients);
  tape.backward();
  check.arena.finish_gradients();

  std::vector<Variable> plain;
  for (const Tensor& t : check.inputs) plain.emplace_back(t);
  context.tape = nullptr;
  const auto loss = [&] {
    const Variable out = f(plain, context);
    long double sum = 0;
    for (int64_t i = 0; i < dy.elements(); ++i)
      sum += static_cast<long double>(out.value().data<double>()[i]) * dy.data<double>()[i];
    return static_cast<double>(sum);
  };
  const auto expect_tensor = [&](const std::string& what, const Tensor& values,
                                 const Tensor& gradient) {
    ASSERT_TRUE(gradient.defined()) << what << " received no gradient";
    double largest = 0;
    for (const double g : gradient.span<double>()) largest = std::max(largest, std::abs(g));
    EXPECT_GT(largest, 1e-6) << what << ": a check of zeros";
    const int64_t stride = std::max<int64_t>(1, values.elements() / check.elements);
    for (int64_t i = 0; i < values.elements(); i += stride) {
      double& value = values.data<double>()[i];
      const double before = value, h = 1e-5;
      value = before + h;
      const double up = loss();
      value = before - h;
      const double down = loss();
      value = before;
      EXPECT_NEAR(gradient.data<double>()[i], (up - down) / (2 * h), check.tolerance * largest)
          << what << ", element " << i;
    }
  };
  for (size_t i = 0; i < inputs.size(); ++i)
    expect_tensor("input " + std::to_string(i), check.inputs[i], inputs[i].grad());
  for (const Parameter& p : check.arena.parameters())
    expect_tensor(p.name, check.arena.view(check.arena.weights(), p),
                  check.arena.view(gradients, p));
}

}  // namespace mono::test
