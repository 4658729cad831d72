// Merging the statistics of all batch norms at once (AdaBN's first pass).
//
// A table is (rows, columns); every layer owns a range of columns. Counts (pixels behind a layer's
// statistics) are (rows, layers), in double.
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

// Merges one row into another by Chan's rule: with n = count of `from`, N of `into`, share = n /
// (N + n), delta = mean_from - mean:
//   variance <- variance (1 - share) + variance_from share + delta^2 share (1 - share)
//   mean     <- mean + delta share
// A layer with n = 0 is left as it is. Counts (layers) are read only. On the stream's device, with
// its pointers; arithmetic is in double, the same on the CPU and the GPU.
template <class From, class Into>
void merge_tables(Stream stream, const NormColumns& table, const double* from_counts,
                  const double* into_counts, const From* from_mean, const From* from_variance,
                  Into* mean, Into* variance);

}  // namespace mono
