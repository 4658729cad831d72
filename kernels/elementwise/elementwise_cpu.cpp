// Elementwise operations on the CPU: units of 32k elements in parallel.
#include <algorithm>
#include <array>

#include "kernels/base/thread_pool.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/elementwise/elementwise_loops.h"

namespace mono {
namespace {

// Calls f(first, count) for units of [0, n).
template <class F>
void for_units(int64_t n, int64_t unit_size, F&& f) {
  parallel_for((n + unit_size - 1) / unit_size, [&](int64_t unit, int) {
    const int64_t first = unit * unit_size;
    f(first, std::min(unit_size, n - first));
  });
}
constexpr int64_t kUnit = 32768;

}  // namespace

template <class T>
void add(int64_t n, const T* a, const T* b, T* y) {
  for_units(n, kUnit,
            [&](int64_t i, int64_t count) { MONO_SIMD(add_unit<T>(count, a + i, b + i, y + i)); });
}

template <class T>
void relu_forward(int64_t n, const T* x, T* y) {
  for_units(n, kUnit, [&](int64_t i, int64_t count) {
    MONO_SIMD(relu_forward_unit<T>(count, x + i, y + i));
  });
}

template <class T>
void relu_backward(int64_t n, const T* dy, const T* y, T* dx, GradMode mode) {
  if (mode == GradMode::ignore) return;
  for_units(n, kUnit, [&](int64_t i, int64_t count) {
    MONO_SIMD(relu_backward_unit<T>(count, dy + i, y + i, dx + i, mode == GradMode::accumulate));
  });
}

template <class T>
void scale_into(int64_t n, Master<T> alpha, const T* x, T* y, GradMode mode) {
  if (mode == GradMode::ignore) return;
  for_units(n, kUnit, [&](int64_t i, int64_t count) {
    MONO_SIMD(scale_unit<T>(count, alpha, x + i, y + i, mode == GradMode::accumulate));
  });
}

template <class To, class From>
void convert(int64_t n, const From* x, To* y) {
  for_units(n, kUnit, [&](int64_t i, int64_t count) {
    MONO_SIMD(copy_unit<To, From>(count, x + i, y + i, false));
  });
}

template <class To, class From>
void copy_channels(int64_t pixels, int C, const From* x, int ldx, To* y, int ldy, GradMode mode) {
  if (mode == GradMode::ignore) return;
  MONO_CHECK(ldx >= C && ldy >= C, "copy_channels: {} channels at pitches {} and {}", C, ldx, ldy);
  for_units(pixels, std::max<int64_t>(1, kUnit / C), [&](int64_t i, int64_t count) {
    for (const int64_t end = i + count; i < end; ++i)
      MONO_SIMD(copy_unit<To, From>(C, x + i * ldx, y + i * ldy, mode == GradMode::accumulate));
  });
}

template <class M>
double sum_of_squares(int64_t n, const M* x) {
  constexpr int64_t kMostUnits = 1024;
  std::array<double, kMostUnits> sums{};
  const int64_t unit = std::max(kUnit, (n + kMostUnits - 1) / kMostUnits);
  for_units(n, unit, [&](int64_t i, int64_t count) {
    sums[static_cast<size_t>(i / unit)] = MONO_SIMD(sum_of_squares_unit<M>(count, x + i));
  });
  double sum = 0;
  for (double s : sums) sum += s;
  return sum;
}

template <class M>
void copy_rows(int rows, int C, const M* table, int64_t ld_table, const int* index, M* y,
               int64_t ldy) {
  for (int64_t row = 0; row < rows; ++row)
    std::copy_n(table + (index ? index[row] : row) * ld_table, C, y + row * ldy);
}

#define MONO_INSTANTIATE_PAIR(To, From)             \
  template void convert(int64_t, const From*, To*); \
  template void copy_channels(int64_t, int, const From*, int, To*, int, GradMode);
#define MONO_INSTANTIATE(T)                                               \
  template void add(int64_t, const T*, const T*, T*);                     \
  template void relu_forward(int64_t, const T*, T*);                      \
  template void relu_backward(int64_t, const T*, const T*, T*, GradMode); \
  template void scale_into(int64_t, Master<T>, const T*, T*, GradMode);   \
  MONO_INSTANTIATE_PAIR(T, float)                                         \
  MONO_INSTANTIATE_PAIR(T, bf16)                                          \
  MONO_INSTANTIATE_PAIR(T, double)
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template double sum_of_squares(int64_t, const float*);
template double sum_of_squares(int64_t, const double*);
template void copy_rows(int, int, const float*, int64_t, const int*, float*, int64_t);
template void copy_rows(int, int, const double*, int64_t, const int*, double*, int64_t);

}  // namespace mono
