#include "nn/functional/pooling.h"

#include "kernels/pool/pool.h"

namespace mono {
namespace {

PoolProblem problem_of(const char* op, const Tensor& x, int window, int stride, int pad) {
  const Shape& s = x.shape();
  if (s.rank() != 4 || !x.packed() || s[1] + 2 * pad < window || s[2] + 2 * pad < window)
    fail(ErrorKind::usage,
         "{}: a {}x{} window does not fit the input {}; the image size is too small for this model",
         op, window, window, x.to_string());
  return {s[0], s[1], s[2], s[3], window, stride, pad};
}

}  // namespace

Variable max_pool(const Variable& x, int window, int stride, int pad,
                  const ForwardContext& context) {
  const PoolProblem problem = problem_of("max_pool", x.value(), window, stride, pad);
  const Shape shape{problem.N, problem.P(), problem.Q(), problem.C};
  Variable y(Tensor::empty(shape, x.dtype(), x.value().device()), context.tape != nullptr);
  const Tensor argmax = Tensor::empty(shape, DType::u8, x.value().device());
  dispatch_activation(x.dtype(), [&]<class T>() {
    max_pool_forward<T>(x.value().stream(), problem, x.value().data<T>(), y.value().data<T>(),
                        argmax.data<uint8_t>());
  });
  if (context.tape)
    context.tape->record("max_pool", {x}, {y}, {argmax}, [problem](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor.defined()) return;
      dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
        max_pool_backward<T>(dx.tensor.stream(), problem, b.grad().data<T>(),
                             b.saved(0).data<uint8_t>(), dx.tensor.data<T>(), dx.mode);
      });
    });
  return y;
}

Variable average_pool(const Variable& x, int window, int stride, const ForwardContext& context) {
  const PoolProblem problem = problem_of("average_pool", x.value(), window, stride, 0);
  Variable y(Tensor::empty({problem.N, problem.P(), problem.Q(), problem.C}, x.dtype(),
                           x.value().device()),
             context.tape != nullptr);
  dispatch_activation(x.dtype(), [&]<class T>() {
    average_pool_forward<T>(x.value().stream(), problem, x.value().data<T>(), y.value().data<T>());
  });
  if (context.tape)
    context.tape->record("average_pool", {x}, {y}, {}, [problem](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor.defined()) return;
      dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
        average_pool_backward<T>(dx.tensor.stream(), problem, b.grad().data<T>(),
                                 dx.tensor.data<T>(), dx.mode);
      });
    });
  return y;
}

Variable global_average_pool(const Variable& x, const ForwardContext& context) {
  const Shape s = x.shape();
  MONO_CHECK(s.rank() == 4 && x.value().packed(), "global_average_pool of {}",
             x.value().to_string());
  Variable y(Tensor::empty({s[0], s[3]}, x.dtype(), x.value().device()), context.tape != nullptr);
  dispatch_activation(x.dtype(), [&]<class T>() {
    global_average_pool_forward<T>(x.value().stream(), s[0], s[1], s[2], s[3], 0,
                                   x.value().data<T>(), y.value().data<T>());
  });
  if (context.tape)
    context.tape->record("global_average_pool", {x}, {y}, {}, [s](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor.defined()) return;
      dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
        global_average_pool_backward<T>(dx.tensor.stream(), s[0], s[1], s[2], s[3], 0,
                                        b.grad().data<T>(), dx.tensor.data<T>(), dx.mode);
      });
    });
  return y;
}

}  // namespace mono
