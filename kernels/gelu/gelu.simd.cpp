#include "kernels/gelu/gelu_loops.h"
#include "kernels/gelu/gelu_vector.h"

namespace mono::MONO_ISA {

template <class T>
void gelu_forward_unit(int64_t n, const T* x, T* y) {
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) {
    const Master<T> v = load(x + i);
    store(y + i, v * normal(v).below);
  }
}

template <class G, class T>
void gelu_backward_unit(int64_t n, const G* dy, const T* x, T* dx, bool accumulate) {
  using M = Master<T>;
  if (accumulate) {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) {
      const M v = load(x + i);
      const auto at = normal(v);
      store(dx + i, madd(load(dy + i), madd(v, at.density, at.below), load(dx + i)));
    }
  } else {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) {
      const M v = load(x + i);
      const auto at = normal(v);
      store(dx + i, load(dy + i) * madd(v, at.density, at.below));
    }
  }
}

#define MONO_INSTANTIATE(T)                                  \
  template void gelu_forward_unit<T>(int64_t, const T*, T*); \
  template void gelu_backward_unit<T, T>(int64_t, const T*, const T*, T*, bool);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void gelu_backward_unit<float, bf16>(int64_t, const float*, const bf16*, bf16*, bool);

}  // namespace mono::MONO_ISA
