#include "kernels/elementwise/elementwise_loops.h"

#include "kernels/base/simd.h"

namespace mono::MONO_ISA {

template <class T>
void add_unit(int64_t n, const T* a, const T* b, T* y) {
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) store(y + i, load(a + i) + load(b + i));
}

template <class T>
void relu_forward_unit(int64_t n, const T* x, T* y) {
  MONO_VECTORISE
  for (int64_t i = 0; i < n; ++i) {
    const Master<T> v = load(x + i);
    store(y + i, v < 0 ? Master<T>(0) : v);  // in this form NaN goes through
  }
}

template <class T>
void relu_backward_unit(int64_t n, const T* dy, const T* y, T* dx, bool accumulate) {
  if (accumulate) {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i)
      store(dx + i, load(dx + i) + (load(y + i) > 0 ? load(dy + i) : Master<T>(0)));
  } else {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) store(dx + i, load(y + i) > 0 ? load(dy + i) : Master<T>(0));
  }
}

template <class T>
void scale_unit(int64_t n, Master<T> alpha, const T* x, T* y, bool accumulate) {
  if (accumulate) {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) store(y + i, madd(alpha, load(x + i), load(y + i)));
  } else {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) store(y + i, alpha * load(x + i));
  }
}

template <class To, class From>
void copy_unit(int64_t n, const From* x, To* y, bool accumulate) {
  using M = Master<To>;
  if (accumulate) {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) store(y + i, load(y + i) + static_cast<M>(load(x + i)));
  } else {
    MONO_VECTORISE
    for (int64_t i = 0; i < n; ++i) store(y + i, static_cast<M>(load(x + i)));
  }
}

template <class M>
double sum_of_squares_unit(int64_t n, const M* x) {
  constexpr int kLanes = 256;  // partial sums, added in order at the end
  double lane[kLanes];
  for (int l = 0; l < kLanes; ++l) lane[l] = 0;
  for (; n > 0; n -= kLanes, x += kLanes) {
    const int lanes = n < kLanes ? static_cast<int>(n) : kLanes;
    for (int l = 0; l < lanes; ++l) {
      const double v = x[l];
      lane[l] = madd(v, v, lane[l]);
    }
  }
  double sum = 0;
  for (int l = 0; l < kLanes; ++l) sum += lane[l];
  return sum;
}

#define MONO_INSTANTIATE(T)                                                   \
  template void add_unit<T>(int64_t, const T*, const T*, T*);                 \
  template void relu_forward_unit<T>(int64_t, const T*, T*);                  \
  template void relu_backward_unit<T>(int64_t, const T*, const T*, T*, bool); \
  template void scale_unit<T>(int64_t, Master<T>, const T*, T*, bool);        \
  template void copy_unit<T, float>(int64_t, const float*, T*, bool);         \
  template void copy_unit<T, bf16>(int64_t, const bf16*, T*, bool);           \
  template void copy_unit<T, double>(int64_t, const double*, T*, bool);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template double sum_of_squares_unit<float>(int64_t, const float*);
template double sum_of_squares_unit<double>(int64_t, const double*);

}  // namespace mono::MONO_ISA
