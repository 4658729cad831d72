// A thread a column, and a block a unit of rows; neighbouring threads read neighbouring elements.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/reduce/reduce.h"
#include "kernels/simt/simt.cuh"

namespace mono {

// partial (units, columns)
template <class T>
__global__ void __launch_bounds__(256)
    column_sums_kernel(int rows, int columns, const T* x, double* partial) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= columns) return;
  const int first = static_cast<int>(blockIdx.y) * kColumnSumRows;
  const int end = min(first + kColumnSumRows, rows);
  double sum = 0;
  for (int r = first; r < end; ++r)
    sum += static_cast<double>(static_cast<Master<T>>(x[int64_t{r} * columns + c]));
  partial[int64_t{blockIdx.y} * columns + c] = sum;
}

template <class M>
__global__ void __launch_bounds__(256)
    column_sums_merge_kernel(int units, int columns, const double* partial, M* sums,
                             bool accumulate) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= columns) return;
  double sum = accumulate ? static_cast<double>(sums[c]) : 0.0;
  for (int unit = 0; unit < units; ++unit) sum += partial[int64_t{unit} * columns + c];
  sums[c] = static_cast<M>(sum);
}

}  // namespace mono
