// One thread a column; neighbouring threads read neighbouring elements.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/simt.cuh"

namespace mono {

template <class T>
__global__ void __launch_bounds__(256)
    column_sums_kernel(int rows, int columns, const T* x, Master<T>* sums, bool accumulate) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= columns) return;
  double sum = 0;
  for (int r = 0; r < rows; ++r)
    sum += static_cast<double>(static_cast<Master<T>>(x[int64_t{r} * columns + c]));
  sums[c] = static_cast<Master<T>>((accumulate ? static_cast<double>(sums[c]) : 0.0) + sum);
}

}  // namespace mono
