#include "nn/functional/figures.h"

#include "kernels/cross_entropy/cross_entropy.h"
#include "kernels/elementwise/elementwise.h"

namespace mono {

Figures::Figures(int count, Device device, int rows)
    : count_(count), values_(Tensor::zeros({rows * count}, DType::f64, device)) {}

void Figures::clear() {
  values_.zero();
  row_ = 0;
}

void Figures::select_row(int row) {
  MONO_CHECK(row >= 0 && (row + 1) * count_ <= values_.elements(), "row {}", row);
  row_ = row;
}

void Figures::add_mean(int figure, const Tensor& losses, double weight) {
  const int N = losses.shape()[0];
  dispatch_master(losses.dtype(), [&]<class M>() {
    add_losses<M>(losses.stream(), N, losses.data<M>(), weight / N, at(figure));
  });
}

void Figures::add_correct(int figure, const Tensor& logits, const Tensor& targets) {
  const int N = logits.shape()[0], K = logits.shape()[1];
  const Tensor correct = Tensor::empty({N}, DType::i32, logits.device());
  dispatch_activation(logits.dtype(), [&]<class T>() {
    add_accuracy<T>(logits.stream(), N, K, logits.data<T>(), targets.data<float>(), 1.0, at(figure),
                    correct.data<int>());
  });
}

void Figures::sum_of_squares(int figure, const Tensor& array) {
  const int64_t n = array.elements();
  Workspace workspace(sum_of_squares_workspace_bytes(array.device(), n), array.device());
  dispatch_master(array.dtype(), [&]<class M>() {
    mono::sum_of_squares<M>(array.stream(), n, array.data<M>(), at(figure), workspace);
  });
}

std::vector<double> Figures::read() const {
  const Tensor host = values_.to(Device::cpu);
  const auto values = host.span<double>();
  return {values.begin(), values.end()};
}

}  // namespace mono
