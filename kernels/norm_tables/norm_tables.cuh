// One thread a column. What a column needs is written once, for the host's loop and the kernel.
#pragma once

#include "kernels/base/host_device.h"
#include "kernels/norm_tables/norm_tables.h"
#include "kernels/simt/simt.cuh"

namespace mono {

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

template <class From, class Into>
__global__ void __launch_bounds__(256)
    merge_kernel(NormColumns table, const double* from_counts, const double* into_counts,
                 const From* from_mean, const From* from_variance, Into* mean, Into* variance) {
  const int64_t c = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (c < table.columns)
    merge_column(table, c, from_counts, into_counts, from_mean, from_variance, mean, variance);
}

}  // namespace mono
