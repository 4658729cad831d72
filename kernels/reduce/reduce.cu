#include "kernels/reduce/reduce.cuh"

#include "kernels/reduce/reduce.h"

namespace mono {

template <class T>
void column_sums(Stream stream, int rows, int columns, const T* x, Master<T>* sums, GradMode mode) {
  if (!stream.on_gpu()) return column_sums<T>(rows, columns, x, sums, mode);
  if (mode == GradMode::ignore) return;
  launch<column_sums_kernel<T>>(stream, {blocks_for(columns, 256), 256}, rows, columns, x, sums,
                                mode == GradMode::accumulate);
}

template void column_sums(Stream, int, int, const float*, float*, GradMode);
template void column_sums(Stream, int, int, const bf16*, float*, GradMode);
template void column_sums(Stream, int, int, const double*, double*, GradMode);

}  // namespace mono
