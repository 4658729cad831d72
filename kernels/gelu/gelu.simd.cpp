#include "kernels/gelu/gelu_loops.h"
#include "kernels/gelu/gelu_vector.h"

namespace mono::MONO_ISA {

template <class T>
void gelu_forward_unit(int64_t n, const T* x, T* y) {
  if constexpr (sizeof(T) == sizeof(Master<T>)) {
    gelu_values(n, x, y);
  } else {
    float block[kGeluBlock];
    for (int64_t i = 0; i < n; i += kGeluBlock) {
      const int count = static_cast<int>(n - i < kGeluBlock ? n - i : kGeluBlock);
      widen_block(count, x + i, block);
      gelu_values(count, block, block);
      narrow_block(count, block, y + i);
    }
  }
}

template <class T>
void gelu_backward_unit(int64_t n, const T* dy, const T* x, T* dx, bool accumulate) {
  using M = Master<T>;
  M slopes[kGeluBlock], widened[kGeluBlock];
  for (int64_t i = 0; i < n; i += kGeluBlock) {
    const int count = static_cast<int>(n - i < kGeluBlock ? n - i : kGeluBlock);
    if constexpr (sizeof(T) == sizeof(M)) {
      gelu_slopes(count, x + i, slopes);
    } else {
      widen_block(count, x + i, widened);
      gelu_slopes(count, widened, slopes);
    }
    if (accumulate) {
      MONO_VECTORISE
      for (int j = 0; j < count; ++j)
        store(dx + i + j, madd(load(dy + i + j), slopes[j], load(dx + i + j)));
    } else {
      MONO_VECTORISE
      for (int j = 0; j < count; ++j) store(dx + i + j, load(dy + i + j) * slopes[j]);
    }
  }
}

#define MONO_INSTANTIATE(T)                                  \
  template void gelu_forward_unit<T>(int64_t, const T*, T*); \
  template void gelu_backward_unit<T>(int64_t, const T*, const T*, T*, bool);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono::MONO_ISA
