// The statistics tables of all batch norms at once: running averages and merging.
//
// A table is (rows, columns); every layer owns a range of columns. Counts (pixels behind a layer's
// statistics) are (rows, layers), in double. Each function runs on the stream's device, with its
// pointers; arithmetic is in double, the same on the CPU and the GPU.
#pragma once

#include <cstdint>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"

namespace mono {

struct NormColumns {
  int64_t columns = 0;
  int layers = 0;
  const int* layer = nullptr;  // (columns): whose column it is
};

// running <- (1 - momentum) * running + momentum * mean over the rows of the groups, in row order;
// the variance enters unbiased (count / (count - 1)). mean, variance (rows, columns); counts (rows,
// layers).
template <class M>
void update_running_tables(Stream stream, const NormColumns& table, int rows, const double* counts,
                           const M* mean, const M* variance, double momentum, M* running_mean,
                           M* running_variance);

// Merges one row into another by Chan's rule: with n = count of `from`, N of `into`, share = n /
// (N + n), delta = mean_from - mean:
//   variance <- variance (1 - share) + variance_from share + delta^2 share (1 - share)
//   mean     <- mean + delta share
// A layer with n = 0 is left as it is. Counts (layers) are read only.
template <class From, class Into>
void merge_tables(Stream stream, const NormColumns& table, const double* from_counts,
                  const double* into_counts, const From* from_mean, const From* from_variance,
                  Into* mean, Into* variance);

}  // namespace mono
