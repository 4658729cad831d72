#include "kernels/reduce/reduce.h"

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

template void column_sums(int, int, const float*, float*, GradMode);
template void column_sums(int, int, const bf16*, float*, GradMode);
template void column_sums(int, int, const double*, double*, GradMode);

}  // namespace mono
