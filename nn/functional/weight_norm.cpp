// Normalised rows and the weight-normed layer of self_supervised.h.
#include "kernels/weight_norm/weight_norm.h"
#include "kernels/l2_normalise/l2_normalise.h"
#include "nn/functional/kernel_choice.h"
#include "nn/functional/self_supervised.h"

namespace mono {
namespace {

template <class T, class A, class B, class Out>
void multiply(Device device, const MatmulProblem& problem, const Matmul<A, B, Out>& args) {
  const MatmulVariant variant = choose_matmul(device, problem, kDTypeOf<T>);
  Workspace workspace(matmul_workspace_bytes(variant, problem, kDTypeOf<T>), device);
  matmul<A, B, Out>(compute_stream(device), variant, problem, kDTypeOf<T>, args, workspace);
}

// saved: x, w, ||v||
template <class T>
void weight_norm_linear_backward(Backward& b, const Parameter& v, const Parameter& g,
                                 bool train_g) {
  using M = Master<T>;
  const Tensor &x = b.saved(0), &w = b.saved(1);
  const Tensor dy = b.grad();
  const Device device = x.device();
  const int rows = x.shape()[0], in = v.shape[1], out = v.shape[0];
  const Tensor dw = Tensor::empty(v.shape, kDTypeOf<M>, device);
  multiply<T>(device, {.M = out, .N = in, .K = rows, .transpose_a = true},
              Matmul<T, T, M>{dy.data<T>(), x.data<T>(), nullptr, dw.data<M>()});
  WeightNormBackward<M> args;
  args.v = v.weights<M>();
  args.g = g.weights<M>();
  args.norms = b.saved(2).data<M>();
  args.dw = dw.data<M>();
  const auto dv = b.gradient(v);
  args.dv = dv.tensor.data<M>();
  args.dv_mode = dv.mode;
  if (train_g) {
    const auto dg = b.gradient(g);
    args.dg = dg.tensor.data<M>();
    args.dg_mode = dg.mode;
  }
  weight_norm_backward<M>(dy.stream(), out, in, args);
  b.done(v);
  if (train_g) b.done(g);
  const auto dx = b.target(0);
  if (!dx.tensor.defined()) return;
  multiply<T>(device, {.M = rows, .N = in, .K = out},
              Matmul<T, M, T>{dy.data<T>(), w.data<M>(), nullptr, dx.tensor.data<T>(), dx.mode});
}

}  // namespace

Variable l2_normalise(const Variable& x, const ForwardContext& context, double eps) {
  const Tensor& input = x.value();
  if (input.shape().rank() != 2 || !input.packed())
    fail(ErrorKind::internal, "l2_normalise: rows of a matrix, not {}", input.to_string());
  const int rows = input.shape()[0], C = input.shape()[1];
  Variable y(Tensor::empty(input.shape(), input.dtype(), input.device()), context.tape != nullptr);
  const Tensor norms = Tensor::empty({rows}, master_of(input.dtype()), input.device());
  dispatch_activation(input.dtype(), [&]<class T>() {
    l2_normalise_forward<T>(input.stream(), rows, C, eps, input.data<T>(), y.value().data<T>(),
                            norms.data<Master<T>>());
  });
  if (context.tape)
    context.tape->record("l2_normalise", {x}, {y}, {input, norms}, [rows, C, eps](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor.defined()) return;
      const Tensor dy = b.grad();
      dispatch_activation(dy.dtype(), [&]<class T>() {
        l2_normalise_backward<T>(dy.stream(), rows, C, eps, b.saved(0).data<T>(),
                                 b.saved(1).data<Master<T>>(), dy.data<T>(), dx.tensor.data<T>(),
                                 dx.mode);
      });
    });
  return y;
}

Variable weight_norm_linear(const Variable& x, const Parameter& v, const Parameter& g, bool train_g,
                            const ForwardContext& context) {
  const Tensor& input = x.value();
  if (input.shape().rank() != 2 || !input.packed() || input.shape()[1] != v.shape[1] ||
      g.elements() != v.shape[0])
    fail(ErrorKind::internal,
         "linear {}: weight (out, in) {} and norms {} {} do not fit the input {}", v.name,
         v.shape.to_string(), g.name, g.shape.to_string(), input.to_string());
  const Device device = input.device();
  const int rows = input.shape()[0], in = v.shape[1], out = v.shape[0];
  Variable y(Tensor::empty({rows, out}, x.dtype(), device), context.tape != nullptr);
  const DType master = master_of(input.dtype());
  const Tensor w = Tensor::empty(v.shape, master, device);
  const Tensor norms = Tensor::empty({out}, master, device);
  dispatch_activation(input.dtype(), [&]<class T>() {
    using M = Master<T>;
    weight_norm_forward<M>(input.stream(), out, in, v.weights<M>(), g.weights<M>(), w.data<M>(),
                           norms.data<M>());
    multiply<T>(device, {.M = rows, .N = out, .K = in, .transpose_b = true},
                Matmul<T, M, T>{input.data<T>(), w.data<M>(), nullptr, y.value().data<T>()});
  });
  if (context.tape) {
    context.tape->writes({&v, train_g ? &g : nullptr});
    context.tape->record("weight_norm_linear", {x}, {y}, {input, w, norms},
                         [v = &v, g = &g, train_g](Backward& b) {
                           dispatch_activation(b.saved(0).dtype(), [&]<class T>() {
                             weight_norm_linear_backward<T>(b, *v, *g, train_g);
                           });
                         });
  }
  return y;
}

}  // namespace mono
