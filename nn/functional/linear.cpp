#include "kernels/matmul/matmul.h"
#include "kernels/reduce/reduce.h"
#include "nn/functional/convolution.h"
#include "nn/functional/kernel_choice.h"

namespace mono {
namespace {

// C = op(A) op(B) with the variant and scratch that the table prescribes.
template <class T, class A, class B, class Out>
void multiply(Device device, const MatmulProblem& problem, const Matmul<A, B, Out>& args) {
  const MatmulVariant variant = choose_matmul(device, problem, kDTypeOf<T>);
  Workspace workspace(matmul_workspace_bytes(variant, problem, kDTypeOf<T>), device);
  matmul<A, B, Out>(compute_stream(device), variant, problem, kDTypeOf<T>, args, workspace);
}

template <class T>
void backward(Backward& b, const Parameter& w, const Parameter* bias) {
  using M = Master<T>;
  const Tensor x = b.saved(0), dy = b.grad();
  const Device device = x.device();
  const int rows = x.shape()[0], in = w.shape[1], out = w.shape[0];
  const auto dw = b.gradient(w);
  MatmulProblem wgrad{out, in, rows, true, false};  // dw = dy^T x
  multiply<T>(device, wgrad,
              Matmul<T, T, M>{dy.data<T>(), x.data<T>(), nullptr, dw.tensor.data<M>(), dw.mode});
  b.done(w);
  if (bias) {
    const auto dbias = b.gradient(*bias);
    column_sums<T>(dy.stream(), rows, out, dy.data<T>(), dbias.tensor.data<M>(), dbias.mode);
    b.done(*bias);
  }
  const auto dx = b.target(0);
  if (!dx.tensor.defined()) return;
  MatmulProblem dgrad{rows, in, out};  // dx = dy w
  multiply<T>(device, dgrad,
              Matmul<T, M, T>{dy.data<T>(), w.weights<M>(), nullptr, dx.tensor.data<T>(), dx.mode});
}

}  // namespace

Variable linear(const Variable& x, const Parameter& w, const Parameter* bias,
                const ForwardContext& context) {
  const Tensor& input = x.value();
  if (input.shape().rank() != 2 || !input.packed() || input.shape()[1] != w.shape[1])
    fail(ErrorKind::internal, "linear {}: weight (out, in) {} does not fit the input {}", w.name,
         w.shape.to_string(), input.to_string());
  const Device device = input.device();
  Variable y(Tensor::empty({input.shape()[0], w.shape[0]}, x.dtype(), device),
             context.tape != nullptr);
  dispatch_activation(input.dtype(), [&]<class T>() {
    using M = Master<T>;
    MatmulProblem problem{input.shape()[0], w.shape[0], w.shape[1], false, true};
    multiply<T>(device, problem,
                Matmul<T, M, T>{input.data<T>(), w.weights<M>(),
                                bias ? bias->weights<M>() : nullptr, y.value().data<T>()});
  });
  if (context.tape)
    context.tape->record("linear", {x}, {y}, {input}, [w = &w, bias](Backward& b) {
      dispatch_activation(b.saved(0).dtype(), [&]<class T>() { backward<T>(b, *w, bias); });
    });
  return y;
}

}  // namespace mono
