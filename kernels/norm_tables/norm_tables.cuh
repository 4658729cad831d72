// One thread a column. What a column needs is written once, for the host's loop and the kernel.
#pragma once

#include "kernels/base/host_device.h"
#include "kernels/norm_tables/norm_tables.h"
#include "kernels/simt/simt.cuh"

namespace mono {

template <class M>
MONO_HOST_DEVICE inline void update_running_column(const NormColumns& table, int64_t c, int rows,
                                                   const double* counts, const M* mean,
                                                   const M* variance, double momentum,
                                                   M* running_mean, M* running_variance) {
  const int layer = table.layer[c];
  double m = 0, v = 0;
  for (int row = 0; row < rows; ++row) {
    const double n = counts[int64_t{row} * table.layers + layer];
    m += static_cast<double>(mean[row * table.columns + c]);
    v += static_cast<double>(variance[row * table.columns + c]) * (n / (n - 1));
  }
  m /= rows;
  v /= rows;
  running_mean[c] =
      static_cast<M>((1 - momentum) * static_cast<double>(running_mean[c]) + momentum * m);
  running_variance[c] =
      static_cast<M>((1 - momentum) * static_cast<double>(running_variance[c]) + momentum * v);
}

template <class From, class Into>
MONO_HOST_DEVICE inline void merge_column(const NormColumns& table, int64_t c,
                                          const double* from_counts, const double* into_counts,
                                          const From* from_mean, const From* from_variance,
                                          Into* mean, Into* variance) {
  const int layer = table.layer[c];
  const double a = into_counts[layer], b = from_counts[layer];
  if (b == 0) return;
  const double share = b / (a + b);  // 1 for the first: what was there before does not count
  const double delta = static_cast<double>(from_mean[c]) - static_cast<double>(mean[c]);
  variance[c] = static_cast<Into>(static_cast<double>(variance[c]) * (1 - share) +
                                  static_cast<double>(from_variance[c]) * share +
                                  delta * delta * share * (1 - share));
  mean[c] = static_cast<Into>(static_cast<double>(mean[c]) + delta * share);
}

template <class M>
__global__ void __launch_bounds__(256)
    update_running_kernel(NormColumns table, int rows, const double* counts, const M* mean,
                          const M* variance, double momentum, M* running_mean,
                          M* running_variance) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c < table.columns)
    update_running_column(table, c, rows, counts, mean, variance, momentum, running_mean,
                          running_variance);
}

template <class From, class Into>
__global__ void __launch_bounds__(256)
    merge_kernel(NormColumns table, const double* from_counts, const double* into_counts,
                 const From* from_mean, const From* from_variance, Into* mean, Into* variance) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c < table.columns)
    merge_column(table, c, from_counts, into_counts, from_mean, from_variance, mean, variance);
}

}  // namespace mono
