#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/gelu/gelu_loops.h"

namespace mono {
namespace {

// Calls f(begin, elements) for units of the array, in parallel.
template <class F>
void for_units(int64_t n, F&& f) {
  constexpr int64_t kUnit = 16384;
  parallel_for((n + kUnit - 1) / kUnit,
               [&](int64_t unit, int) { f(unit * kUnit, std::min(kUnit, n - unit * kUnit)); });
}

}  // namespace

template <class T>
void gelu_forward(int64_t n, const T* x, T* y) {
  for_units(n, [&](int64_t at, int64_t count) {
    MONO_SIMD(gelu_forward_unit<T>(count, x + at, y + at));
  });
}

template <class T>
void gelu_backward(int64_t n, const T* dy, const T* x, T* dx, GradMode mode) {
  if (mode == GradMode::ignore) return;
  for_units(n, [&](int64_t at, int64_t count) {
    MONO_SIMD(gelu_backward_unit<T>(count, dy + at, x + at, dx + at, mode == GradMode::accumulate));
  });
}

#define MONO_INSTANTIATE(T)                          \
  template void gelu_forward(int64_t, const T*, T*); \
  template void gelu_backward(int64_t, const T*, const T*, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
