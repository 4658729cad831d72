#include "kernels/gelu/gelu.cuh"

#include <algorithm>
#include <type_traits>

#include "kernels/gelu/gelu.h"

namespace mono {
namespace {

LaunchShape shape_for(int64_t packs) {
  return {static_cast<unsigned>(std::min<int64_t>(blocks_for(packs, kGeluThreads), 65536)),
          kGeluThreads, 0};
}

}  // namespace

template <class T>
void gelu_forward(Stream stream, int64_t n, const T* x, T* y) {
  if (!stream.on_gpu()) return gelu_forward<T>(n, x, y);
  const auto run = [&]<int V>() {
    launch<gelu_forward_kernel<T, V>>(stream, shape_for(n / V), n / V, x, y);
  };
  if (n % kPackWidth<T> == 0 && packs_fit(x, 0, 0) && packs_fit(y, 0, 0))
    run.template operator()<kPackWidth<T>>();
  else
    run.template operator()<1>();
}

template <class T>
void gelu_backward(Stream stream, int64_t n, const T* dy, const T* x, T* dx, GradMode mode) {
  if (!stream.on_gpu()) return gelu_backward<T>(n, dy, x, dx, mode);
  if (mode == GradMode::ignore) return;
  const auto run = [&]<int V>() {
    launch<gelu_backward_kernel<T, V>>(stream, shape_for(n / V), n / V, dy, x, dx,
                                       mode == GradMode::accumulate);
  };
  // In double, erfc and exp of two values at once spill registers.
  constexpr int kWidth = std::is_same_v<T, double> ? 1 : kPackWidth<T>;
  if (n % kWidth == 0 && packs_fit(dy, 0, 0) && packs_fit(x, 0, 0) && packs_fit(dx, 0, 0))
    run.template operator()<kWidth>();
  else
    run.template operator()<1>();
}

#define MONO_INSTANTIATE(T)                                  \
  template void gelu_forward(Stream, int64_t, const T*, T*); \
  template void gelu_backward(Stream, int64_t, const T*, const T*, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
