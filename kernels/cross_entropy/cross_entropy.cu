#include "kernels/cross_entropy/cross_entropy.cuh"

#include "kernels/cross_entropy/cross_entropy.h"

namespace mono {
namespace {

LaunchShape rows_shape(const char* operation, int N, int K) {
  MONO_CHECK(N >= 0 && K >= 1, "{}: {} rows of {} classes", operation, N, K);
  return {static_cast<unsigned>(N), kCrossEntropyThreads, 0};
}

}  // namespace

template <class T>
void cross_entropy_forward(Stream stream, int N, int K, const T* logits, const float* targets,
                           Master<T>* losses, Master<T>* log_sum_exp) {
  if (!stream.on_gpu()) return cross_entropy_forward<T>(N, K, logits, targets, losses, log_sum_exp);
  launch<cross_entropy_forward_kernel<T>>(stream, rows_shape("cross_entropy_forward", N, K), K,
                                          logits, targets, losses, log_sum_exp);
}

template <class T>
void cross_entropy_backward(Stream stream, int N, int K, const T* logits, const float* targets,
                            const Master<T>* log_sum_exp, Master<T> weight, T* dlogits,
                            GradMode mode) {
  if (!stream.on_gpu())
    return cross_entropy_backward<T>(N, K, logits, targets, log_sum_exp, weight, dlogits, mode);
  if (mode == GradMode::ignore) return;
  launch<cross_entropy_backward_kernel<T>>(stream, rows_shape("cross_entropy_backward", N, K), K,
                                           logits, targets, log_sum_exp, weight, dlogits,
                                           mode == GradMode::accumulate);
}

template <class M>
void add_losses(Stream stream, int N, const M* losses, double weight, double* total) {
  if (!stream.on_gpu()) return add_losses<M>(N, losses, weight, total);
  launch<add_sum_kernel<M>>(stream, {1, kCrossEntropyThreads, 0}, N, losses, weight, total);
}

template <class T>
void add_accuracy(Stream stream, int N, int K, const T* logits, const float* targets, double weight,
                  double* right, int* correct) {
  if (!stream.on_gpu()) return add_accuracy<T>(N, K, logits, targets, weight, right);
  launch<row_correct_kernel<T>>(stream, rows_shape("add_accuracy", N, K), K, logits, targets,
                                correct);
  launch<add_sum_kernel<int>>(stream, {1, kCrossEntropyThreads, 0}, N, correct, weight, right);
}

#define MONO_INSTANTIATE(T)                                                                        \
  template void cross_entropy_forward(Stream, int, int, const T*, const float*, Master<T>*,        \
                                      Master<T>*);                                                 \
  template void cross_entropy_backward(Stream, int, int, const T*, const float*, const Master<T>*, \
                                       Master<T>, T*, GradMode);                                   \
  template void add_accuracy(Stream, int, int, const T*, const float*, double, double*, int*);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void add_losses(Stream, int, const float*, double, double*);
template void add_losses(Stream, int, const double*, double, double*);

}  // namespace mono
