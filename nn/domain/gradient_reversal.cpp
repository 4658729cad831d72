#include "nn/domain/gradient_reversal.h"

#include "kernels/elementwise/elementwise.h"

namespace mono {

Variable gradient_reversal(const Variable& x, const Tensor& factor, const ForwardContext& context) {
  Variable y(x.value(), context.tape != nullptr);
  if (context.tape)
    context.tape->record("gradient_reversal", {x}, {y}, {factor}, [](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor.defined()) return;
      const Tensor dy = b.grad();
      dispatch_activation(dy.dtype(), [&]<class T>() {
        scale_by<T>(dy.stream(), dy.elements(), b.saved(0).data<double>(), dy.data<T>(),
                    dx.tensor.data<T>(), dx.mode);
      });
    });
  return y;
}

Variable gradient_reversal(const Variable& x, double lambda, const ForwardContext& context) {
  const Tensor factor = Tensor::empty({1}, DType::f64);
  factor.data<double>()[0] = -lambda;
  return gradient_reversal(x, factor.to(x.value().device()), context);
}

Variable detach(const Variable& x) {
  return Variable(x.value(), false);
}

}  // namespace mono
