// What a linear layer needs on the GPU beside its matrix product.
#pragma once

#include "kernels/base/dtype.h"
#include "kernels/simt/pack.cuh"

namespace mono {

inline constexpr int kScaleRowsThreads = 256;

// A thread a pack of a row: x of the grid along the row, y over rows.
template <class T, int V>
__global__ void __launch_bounds__(kScaleRowsThreads)
    scale_rows_kernel(int rows, int columns, int rows_per_keep, const float* keep, const T* dy,
                      T* g) {
  using M = Master<T>;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (c >= columns) return;
  for (int r = static_cast<int>(blockIdx.y); r < rows; r += static_cast<int>(gridDim.y)) {
    const M factor = static_cast<M>(keep[r / rows_per_keep]);
    Pack<T, V> pack = load_pack<T, V>(dy + int64_t{r} * columns + c);
#pragma unroll
    for (int v = 0; v < V; ++v) pack.value[v] = T(static_cast<M>(pack.value[v]) * factor);
    store_pack<T, V>(g + int64_t{r} * columns + c, pack);
  }
}

}  // namespace mono
