#include "kernels/l2_normalise/l2_normalise.cuh"

#include "kernels/l2_normalise/l2_normalise.h"

namespace mono {

template <class T>
void l2_normalise_forward(Stream stream, int rows, int C, double eps, const T* x, T* y,
                          Master<T>* norms) {
  if (!stream.on_gpu()) return l2_normalise_forward<T>(rows, C, eps, x, y, norms);
  launch<l2_normalise_forward_kernel<T>>(
      stream, {blocks_for(rows, kNormaliseRows), kNormaliseThreads}, rows, C, eps, x, y, norms);
}

template <class T>
void l2_normalise_backward(Stream stream, int rows, int C, double eps, const T* x,
                           const Master<T>* norms, const T* dy, T* dx, GradMode mode) {
  if (!stream.on_gpu()) return l2_normalise_backward<T>(rows, C, eps, x, norms, dy, dx, mode);
  if (mode == GradMode::ignore) return;
  launch<l2_normalise_backward_kernel<T>>(
      stream, {blocks_for(rows, kNormaliseRows), kNormaliseThreads}, rows, C, eps, x, norms, dy, dx,
      mode == GradMode::accumulate);
}

#define MONO_INSTANTIATE(T)                                                                 \
  template void l2_normalise_forward(Stream, int, int, double, const T*, T*, Master<T>*);   \
  template void l2_normalise_backward(Stream, int, int, double, const T*, const Master<T>*, \
                                      const T*, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
