// L2 normalisation on the CPU: a row per unit, sums in double and in order.
#include <algorithm>
#include <cmath>

#include "kernels/base/thread_pool.h"
#include "kernels/l2_normalise/l2_normalise.h"

namespace mono {
namespace {

template <class T>
Master<T> value(T x) {
  return static_cast<Master<T>>(x);
}

}  // namespace

template <class T>
void l2_normalise_forward(int rows, int C, double eps, const T* x, T* y, Master<T>* norms) {
  using M = Master<T>;
  parallel_for(rows, [&](int64_t r, int) {
    const T* from = x + r * C;
    double squares = 0;
    for (int c = 0; c < C; ++c) squares += double{value(from[c])} * double{value(from[c])};
    const M norm = static_cast<M>(std::max(std::sqrt(squares), eps));
    for (int c = 0; c < C; ++c) y[r * C + c] = T(value(from[c]) / norm);
    norms[r] = norm;
  });
}

template <class T>
void l2_normalise_backward(int rows, int C, double eps, const T* x, const Master<T>* norms,
                           const T* dy, T* dx, GradMode mode) {
  using M = Master<T>;
  if (mode == GradMode::ignore) return;
  parallel_for(rows, [&](int64_t r, int) {
    const T *from = x + r * C, *gradient = dy + r * C;
    T* to = dx + r * C;
    const M norm = norms[r];
    double product = 0;  // of the row and its gradient, over the squared norm
    if (norm > static_cast<M>(eps)) {
      for (int c = 0; c < C; ++c) product += double{value(from[c])} * double{value(gradient[c])};
      product /= double{norm} * double{norm};
    }
    const M along = static_cast<M>(product);
    for (int c = 0; c < C; ++c) {
      const M g = (value(gradient[c]) - value(from[c]) * along) / norm;
      to[c] = T(mode == GradMode::accumulate ? value(to[c]) + g : g);
    }
  });
}

#define MONO_INSTANTIATE(T)                                                                       \
  template void l2_normalise_forward(int, int, double, const T*, T*, Master<T>*);                 \
  template void l2_normalise_backward(int, int, double, const T*, const Master<T>*, const T*, T*, \
                                      GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
