#include "nn/functional/linear.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/gelu/gelu.h"
#include "kernels/linear/linear.h"
#include "nn/functional/kernel_choice.h"

namespace mono {
namespace {

Shape with_last(const Shape& shape, int last) {
  Shape out;
  for (int i = 0; i + 1 < shape.rank(); ++i) out.append(shape[i]);
  out.append(last);
  return out;
}

void check_norm(const LayerNorm& norm, const Tensor& x) {
  const Shape wanted{x.shape().back()};
  if (norm.weight->shape != wanted || norm.bias->shape != wanted)
    fail(ErrorKind::internal, "layer_norm {}: weight {} and bias {} do not fit the input {}",
         norm.weight->name, norm.weight->shape.to_string(), norm.bias->shape.to_string(),
         x.to_string());
}

// Mean and inverse deviation of every row, of a LayerNorm.
Tensor empty_statistics(const Tensor& x) {
  return Tensor::empty({2, static_cast<int>(x.shape().rows())}, master_of(x.dtype()), x.device());
}

LinearProblem problem_of(const Tensor& x, const Parameter& w, const LinearOptions& options) {
  const Shape& s = x.shape();
  if (s.rank() < 2 || !x.packed() || w.shape.rank() != 2 || s.back() != w.shape[1])
    fail(ErrorKind::internal, "linear {}: weight (out, in) {} does not fit the input {}", w.name,
         w.shape.to_string(), x.to_string());
  MONO_CHECK(!(options.layer_norm && options.gelu), "linear {}: one prologue at most", w.name);
  if (options.layer_norm) check_norm(*options.layer_norm, x);
  if (options.bias && options.bias->shape != Shape{w.shape[0]})
    fail(ErrorKind::internal, "linear {}: bias {} does not fit the weight (out, in) {}", w.name,
         options.bias->shape.to_string(), w.shape.to_string());
  if (options.residual.defined() &&
      (options.residual.shape() != with_last(s, w.shape[0]) ||
       options.residual.dtype() != x.dtype() || !options.residual.value().packed()))
    fail(ErrorKind::internal, "linear {}: the residual {} does not fit the output of {}", w.name,
         options.residual.value().to_string(), x.to_string());
  LinearProblem problem{.rows = static_cast<int>(s.rows()), .in = w.shape[1], .out = w.shape[0]};
  if (options.layer_norm) {
    problem.prologue = LinearPrologue::layer_norm;
    problem.eps = options.layer_norm->eps;
  }
  if (options.gelu) problem.prologue = LinearPrologue::gelu;
  if (options.keep) {
    if (options.keep.shape() != Shape{s[0]} || options.keep.dtype() != DType::f32)
      fail(ErrorKind::internal, "linear {}: keep {} is not one f32 for each of the {} images",
           w.name, options.keep.to_string(), s[0]);
    problem.rows_per_keep = problem.rows / s[0];
  }
  return problem;
}

// What backward needs beside the saved tensors.
struct Parameters {
  const Parameter *w, *bias, *gamma, *beta;  // null: there is none
};

template <class T>
LinearGradient<T> gradient_of(Backward& b, const Parameter* p) {
  if (!p) return {};
  const auto target = b.gradient(*p);
  return {target.tensor.data<Master<T>>(), target.mode};
}

template <class T>
void backward(Backward& b, const LinearProblem& problem, const Parameters& p) {
  using M = Master<T>;
  const Tensor x = b.saved(0), statistics = b.saved(1), keep = b.saved(2), dy = b.grad();
  const Device device = x.device();
  const LinearVariant variant = choose_linear(device, problem, kDTypeOf<T>);
  {
    Workspace workspace(
        linear_workspace_bytes(device, variant, LinearPass::backward, problem, kDTypeOf<T>),
        device);
    LinearBackward<T> args{.dy = dy.data<T>(), .x = x.data<T>(), .w = p.w->weights<M>()};
    if (p.gamma) {
      args.gamma = p.gamma->weights<M>();
      args.beta = p.beta->weights<M>();
      args.mean = statistics.data<M>();
      args.inv_std = args.mean + problem.rows;
    }
    if (keep) args.keep = keep.data<float>();
    args.dw = gradient_of<T>(b, p.w);
    args.dbias = gradient_of<T>(b, p.bias);
    args.dgamma = gradient_of<T>(b, p.gamma);
    args.dbeta = gradient_of<T>(b, p.beta);
    const auto dx = b.target(0);
    if (dx.tensor) args.dx = dx.tensor.data<T>();
    args.dx_mode = dx.mode;
    linear_backward<T>(compute_stream(device), variant, problem, args, workspace);
  }
  for (const Parameter* done : {p.w, p.bias, p.gamma, p.beta})
    if (done) b.done(*done);
  if (b.hand_over(1, dy)) return;
  const auto residual = b.target(1);
  T* const to = residual.tensor.data<T>();
  add<T>(dy.stream(), dy.elements(), to, dy.data<T>(), to);
}

}  // namespace

Variable linear(const Variable& x, const Parameter& w, const LinearOptions& options,
                const ForwardContext& context) {
  const Tensor& input = x.value();
  const LinearProblem problem = problem_of(input, w, options);
  const Device device = input.device();
  Variable y(Tensor::empty(with_last(input.shape(), problem.out), x.dtype(), device),
             context.tape != nullptr);
  const LayerNorm* const norm = options.layer_norm;
  Tensor statistics;
  if (norm && context.tape) statistics = empty_statistics(input);
  dispatch_activation(input.dtype(), [&]<class T>() {
    using M = Master<T>;
    const LinearVariant variant = choose_linear(device, problem, kDTypeOf<T>);
    Workspace workspace(
        linear_workspace_bytes(device, variant, LinearPass::forward, problem, kDTypeOf<T>), device);
    LinearForward<T> args{.x = input.data<T>(), .w = w.weights<M>(), .y = y.value().data<T>()};
    if (options.bias) args.bias = options.bias->weights<M>();
    if (norm) {
      args.gamma = norm->weight->weights<M>();
      args.beta = norm->bias->weights<M>();
      if (statistics) {
        args.mean = statistics.data<M>();
        args.inv_std = args.mean + problem.rows;
      }
    }
    if (options.residual.defined()) args.residual = options.residual.value().data<T>();
    if (options.keep) args.keep = options.keep.data<float>();
    linear_forward<T>(compute_stream(device), variant, problem, args, workspace);
  });
  if (context.tape) {
    const Parameters parameters{&w, options.bias, norm ? norm->weight : nullptr,
                                norm ? norm->bias : nullptr};
    context.tape->writes({parameters.w, parameters.bias, parameters.gamma, parameters.beta});
    context.tape->record("linear", {x, options.residual}, {y}, {input, statistics, options.keep},
                         [problem, parameters](Backward& b) {
                           dispatch_activation(b.saved(0).dtype(), [&]<class T>() {
                             backward<T>(b, problem, parameters);
                           });
                         });
  }
  return y;
}

Variable linear(const Variable& x, const Parameter& w, const Parameter* bias,
                const ForwardContext& context) {
  return linear(x, w, LinearOptions{.bias = bias}, context);
}

Variable layer_norm(const Variable& x, const LayerNorm& norm, const ForwardContext& context) {
  const Tensor& input = x.value();
  check_norm(norm, input);
  MONO_CHECK(input.packed(), "layer_norm {} of {}", norm.weight->name, input.to_string());
  const LayerNormProblem problem{static_cast<int>(input.shape().rows()), input.shape().back(),
                                 norm.eps};
  Variable y(Tensor::empty(input.shape(), x.dtype(), input.device()), context.tape != nullptr);
  Tensor statistics;
  if (context.tape) statistics = empty_statistics(input);
  dispatch_activation(x.dtype(), [&]<class T>() {
    using M = Master<T>;
    M* const mean = statistics ? statistics.data<M>() : nullptr;
    layer_norm_forward<T>(input.stream(), layer_norm_choose(problem, kDTypeOf<T>), problem,
                          {input.data<T>(), norm.weight->weights<M>(), norm.bias->weights<M>(),
                           mean, mean ? mean + problem.rows : nullptr, y.value().data<T>()});
  });
  if (context.tape) {
    context.tape->writes({norm.weight, norm.bias});
    context.tape->record(
        "layer_norm", {x}, {y}, {input, statistics},
        [problem, weight = norm.weight, bias = norm.bias](Backward& b) {
          dispatch_activation(b.saved(0).dtype(), [&]<class T>() {
            using M = Master<T>;
            const Tensor in = b.saved(0), dy = b.grad();
            Workspace workspace(layer_norm_workspace_bytes(in.device(), problem, kDTypeOf<T>),
                                in.device());
            const M* const mean = b.saved(1).data<M>();
            const auto dgamma = gradient_of<T>(b, weight), dbeta = gradient_of<T>(b, bias);
            const auto dx = b.target(0);
            layer_norm_backward<T>(in.stream(), layer_norm_choose(problem, kDTypeOf<T>), problem,
                                   {.dy = dy.data<T>(),
                                    .x = in.data<T>(),
                                    .gamma = weight->weights<M>(),
                                    .mean = mean,
                                    .inv_std = mean + problem.rows,
                                    .dx = dx.tensor ? dx.tensor.data<T>() : nullptr,
                                    .dx_mode = dx.mode,
                                    .dgamma = dgamma.data,
                                    .dbeta = dbeta.data,
                                    .dgamma_mode = dgamma.mode,
                                    .dbeta_mode = dbeta.mode},
                                   workspace);
            b.done(*weight);
            b.done(*bias);
          });
        });
  }
  return y;
}

Variable gelu(const Variable& x, const ForwardContext& context) {
  const Tensor& input = x.value();
  MONO_CHECK(input.packed(), "gelu of {}", input.to_string());
  Variable y(Tensor::empty(input.shape(), x.dtype(), input.device()), context.tape != nullptr);
  dispatch_activation(x.dtype(), [&]<class T>() {
    gelu_forward<T>(input.stream(), input.elements(), input.data<T>(), y.value().data<T>());
  });
  if (context.tape)
    context.tape->record("gelu", {x}, {y}, {input}, [](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor) return;
      dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
        gelu_backward<T>(dx.tensor.stream(), dx.tensor.elements(), b.grad().data<T>(),
                         b.saved(0).data<T>(), dx.tensor.data<T>(), dx.mode);
      });
    });
  return y;
}

}  // namespace mono
