#include "kernels/cross_entropy/cross_entropy.h"

#include "nn/functional/cross_entropy.h"

namespace mono {

Tensor cross_entropy_losses(const Variable& logits, const Tensor& targets, double weight,
                            const ForwardContext& context) {
  const Tensor& y = logits.value();
  if (y.shape().rank() != 2 || targets.shape() != y.shape() || !y.packed() ||
      targets.device() != y.device())
    fail(ErrorKind::internal, "cross entropy: targets {} do not fit the logits {}",
         targets.to_string(), y.to_string());
  const int N = y.shape()[0], K = y.shape()[1];
  const DType master = master_of(y.dtype());
  const Device device = y.device();
  const Tensor losses = Tensor::empty({N}, master, device);
  const Tensor log_sum_exp = Tensor::empty({N}, master, device);
  dispatch_activation(y.dtype(), [&]<class T>() {
    using M = Master<T>;
    cross_entropy_forward<T>(y.stream(), N, K, y.data<T>(), targets.data<float>(), losses.data<M>(),
                             log_sum_exp.data<M>());
  });
  if (context.tape) {
    const Variable loss(Tensor::empty({1}, master, device), true);
    context.tape->record(
        "cross_entropy", {logits}, {loss}, {y, targets, log_sum_exp}, [N, K, weight](Backward& b) {
          const auto dx = b.target(0);
          if (!dx.tensor.defined()) return;
          dispatch_activation(dx.tensor.dtype(), [&]<class T>() {
            using M = Master<T>;
            cross_entropy_backward<T>(dx.tensor.stream(), N, K, b.saved(0).data<T>(),
                                      b.saved(1).data<float>(), b.saved(2).data<M>(),
                                      static_cast<M>(weight / N), dx.tensor.data<T>(), dx.mode);
          });
        });
    loss.seed_grad(Tensor::zeros({1}, master, device));
  }
  return losses;
}

double soft_cross_entropy(const Variable& logits, const Tensor& targets, double weight,
                          const ForwardContext& context) {
  const Tensor losses = cross_entropy_losses(logits, targets, weight, context).to(Device::cpu);
  double sum = 0;
  dispatch_master(losses.dtype(), [&]<class M>() {
    for (const M loss : losses.span<M>()) sum += static_cast<double>(loss);
  });
  return weight * (sum / static_cast<double>(losses.elements()));
}

}  // namespace mono
