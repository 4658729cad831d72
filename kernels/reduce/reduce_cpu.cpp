#include "kernels/reduce/reduce.h"

#include <algorithm>

namespace mono {

template <class T>
void column_sums(int rows, int columns, const T* x, Master<T>* sums, GradMode mode) {
  if (mode == GradMode::ignore) return;
  for (int c = 0; c < columns; ++c) {
    double sum = 0;
    for (int r = 0; r < rows; ++r)
      sum += static_cast<double>(Master<T>(x[int64_t{r} * columns + c]));
    const double before = mode == GradMode::accumulate ? static_cast<double>(sums[c]) : 0.0;
    sums[c] = static_cast<Master<T>>(before + sum);
  }
}

template <class M>
void add_mean(int n, const M* x, double weight, double* into) {
  double sum = 0;
  for (int i = 0; i < n; ++i) sum += static_cast<double>(x[i]);
  *into += weight * (sum / n);
}

template <class T>
void add_accuracy(int rows, int columns, const T* logits, const float* targets, double* into) {
  int right = 0;
  for (int n = 0; n < rows; ++n) {
    const T* y = logits + int64_t{n} * columns;
    const float* target = targets + int64_t{n} * columns;
    const T* best =
        std::max_element(y, y + columns, [](T a, T b) { return Master<T>(a) < Master<T>(b); });
    right += best - y == std::max_element(target, target + columns) - target;
  }
  *into += static_cast<double>(right) / rows;
}

#define MONO_INSTANTIATE(T)                                            \
  template void column_sums(int, int, const T*, Master<T>*, GradMode); \
  template void add_accuracy(int, int, const T*, const float*, double*);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void add_mean(int, const float*, double, double*);
template void add_mean(int, const double*, double, double*);

}  // namespace mono
