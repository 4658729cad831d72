#include "nn/functional/tokens.h"

#include "kernels/elementwise/elementwise.h"
#include "kernels/tokens/tokens.h"

namespace mono {
namespace {

TokensProblem problem_of(const Tensor& patches, const Parameter& cls, const Parameter& pos,
                         PositionRule rule, const Parameter* bias) {
  const Shape& s = patches.shape();
  if (s.rank() != 4 || !patches.packed())
    fail(ErrorKind::internal, "tokens of {}: patches are (N,H,W,D), packed", patches.to_string());
  const int D = s[3];
  int grid = 1;
  while ((1 + int64_t{grid} * grid) * D < pos.elements()) ++grid;
  if (cls.elements() != D || (1 + int64_t{grid} * grid) * D != pos.elements() ||
      (bias && bias->shape != Shape{D}))
    fail(ErrorKind::internal,
         "tokens: {} {} and {} {} do not fit patches {}; they have D and (1 + G^2) D values",
         cls.name, cls.shape.to_string(), pos.name, pos.shape.to_string(), patches.to_string());
  return {s[0], s[1], s[2], D, grid, rule};
}

template <class T>
void backward(Backward& b, const TokensProblem& problem, const Parameter& cls, const Parameter& pos,
              const Parameter* bias) {
  using M = Master<T>;
  const Tensor dy = b.grad();
  Workspace workspace(tokens_workspace_bytes(problem, kDTypeOf<T>), dy.device());
  const auto dcls = b.gradient(cls), dpos = b.gradient(pos);
  const auto dpatches = b.target(0);
  TokensBackward<T> args{.dy = dy.data<T>(),
                         .dcls = dcls.tensor.data<M>(),
                         .dpos = dpos.tensor.data<M>(),
                         .dcls_mode = dcls.mode,
                         .dpos_mode = dpos.mode,
                         .dpatches_mode = dpatches.mode};
  if (bias) {
    const auto dbias = b.gradient(*bias);
    args.dbias = dbias.tensor.data<M>();
    args.dbias_mode = dbias.mode;
  }
  if (dpatches.tensor) args.dpatches = dpatches.tensor.data<T>();
  tokens_backward<T>(dy.stream(), problem, args, workspace);
  for (const Parameter* done : {&cls, &pos, bias})
    if (done) b.done(*done);
}

}  // namespace

Variable tokens(const Variable& patches, const Parameter& cls, const Parameter& pos,
                PositionRule rule, const ForwardContext& context, const Parameter* bias) {
  const Tensor& input = patches.value();
  const TokensProblem problem = problem_of(input, cls, pos, rule, bias);
  Variable y(Tensor::empty({problem.N, problem.tokens(), problem.D}, input.dtype(), input.device()),
             context.tape != nullptr);
  dispatch_activation(input.dtype(), [&]<class T>() {
    using M = Master<T>;
    Workspace workspace(tokens_workspace_bytes(problem, kDTypeOf<T>), input.device());
    tokens_forward<T>(input.stream(), problem,
                      {.patches = input.data<T>(),
                       .cls = cls.weights<M>(),
                       .pos = pos.weights<M>(),
                       .bias = bias ? bias->weights<M>() : nullptr,
                       .y = y.value().data<T>()},
                      workspace);
  });
  if (context.tape) {
    context.tape->writes({&cls, &pos, bias});
    context.tape->record(
        "tokens", {patches}, {y}, {},
        [problem, cls = &cls, pos = &pos, bias, dtype = input.dtype()](Backward& b) {
          dispatch_activation(dtype, [&]<class T>() { backward<T>(b, problem, *cls, *pos, bias); });
        });
  }
  return y;
}

Variable class_token(const Variable& x, const ForwardContext& context) {
  const Shape s = x.shape();
  MONO_CHECK(s.rank() == 3 && x.value().packed(), "class_token of {}", x.value().to_string());
  Variable y(Tensor::empty({s[0], s[2]}, x.dtype(), x.value().device()), context.tape != nullptr);
  const int image = s[1] * s[2];
  dispatch_activation(x.dtype(), [&]<class T>() {
    copy_channels<T, T>(x.value().stream(), s[0], s[2], x.value().data<T>(), image,
                        y.value().data<T>(), s[2], GradMode::overwrite);
  });
  if (context.tape)
    context.tape->record("class_token", {x}, {y}, {}, [s, image](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor) return;
      if (dx.mode == GradMode::overwrite) dx.tensor.zero();
      dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
        copy_channels<T, T>(dx.tensor.stream(), s[0], s[2], b.grad().data<T>(), s[2],
                            dx.tensor.data<T>(), image, dx.mode);
      });
    });
  return y;
}

}  // namespace mono
