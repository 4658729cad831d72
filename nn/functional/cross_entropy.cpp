#include "kernels/cross_entropy/cross_entropy.h"

#include "nn/functional/cross_entropy.h"

namespace mono {

double soft_cross_entropy(const Variable& logits, const Tensor& targets, double weight,
                          const ForwardContext& context) {
  const Tensor& y = logits.value();
  if (y.shape().rank() != 2 || targets.shape() != y.shape() || !y.packed())
    fail(ErrorKind::internal, "cross entropy: targets {} do not fit the logits {}",
         targets.to_string(), y.to_string());
  const int N = y.shape()[0], K = y.shape()[1];
  const DType master = master_of(y.dtype());
  const Tensor losses = Tensor::empty({N}, master), log_sum_exp = Tensor::empty({N}, master);
  double mean = 0;
  dispatch_activation(y.dtype(), [&]<class T>() {
    using M = Master<T>;
    cross_entropy_forward<T>(N, K, y.data<T>(), targets.data<float>(), losses.data<M>(),
                             log_sum_exp.data<M>());
    for (const M loss : losses.span<M>()) mean += static_cast<double>(loss);
  });
  mean /= N;
  if (context.tape) {
    const Variable loss(Tensor::empty({1}, master), true);
    context.tape->record(
        "cross_entropy", {logits}, {loss}, {y, targets, log_sum_exp}, [N, K, weight](Backward& b) {
          const auto dx = b.target(0);
          if (!dx.tensor.defined()) return;
          dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
            using M = Master<T>;
            cross_entropy_backward<T>(N, K, b.saved(0).data<T>(), b.saved(1).data<float>(),
                                      b.saved(2).data<M>(), static_cast<M>(weight / N),
                                      dx.tensor.data<T>(), dx.mode);
          });
        });
    loss.seed_grad(Tensor::zeros({1}, master));
  }
  return weight * mean;
}

}  // namespace mono
