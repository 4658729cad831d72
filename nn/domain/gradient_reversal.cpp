#include "nn/domain/gradient_reversal.h"

#include "kernels/elementwise/elementwise.h"

namespace mono {

Variable gradient_reversal(const Variable& x, double lambda, const ForwardContext& context) {
  Variable y(x.value(), context.tape != nullptr);
  if (context.tape)
    context.tape->record("gradient_reversal", {x}, {y}, {}, [lambda](Backward& b) {
      const auto dx = b.target(0);
      if (!dx.tensor.defined()) return;
      const Tensor dy = b.grad();
      dispatch_activation(dy.dtype(), [&]<class T>() {
        scale_into<T>(dy.stream(), dy.elements(), static_cast<Master<T>>(-lambda), dy.data<T>(),
                      dx.tensor.data<T>(), dx.mode);
      });
    });
  return y;
}

Variable detach(const Variable& x) {
  return Variable(x.value(), false);
}

}  // namespace mono
