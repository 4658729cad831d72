#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/base/unit_sums.h"
#include "kernels/base/workspace.h"
#include "kernels/reduce/reduce.h"

namespace mono {

size_t column_sums_workspace_bytes(int rows, int columns) {
  WorkspaceLayout layout;
  layout.take<double>(int64_t{(rows + kColumnSumRows - 1) / kColumnSumRows} * columns);
  return layout.used();
}

template <class T>
void column_sums(int rows, int columns, const T* x, Master<T>* sums, GradMode mode,
                 std::span<std::byte> workspace) {
  if (mode == GradMode::ignore) return;
  const int64_t units = (rows + kColumnSumRows - 1) / kColumnSumRows;
  double* const partial = WorkspaceLayout("column_sums", workspace).take<double>(units * columns);
  parallel_for(units, [&](int64_t unit, int) {
    double* const out = partial + unit * columns;
    std::fill_n(out, columns, 0.0);
    const int64_t end = std::min<int64_t>((unit + 1) * kColumnSumRows, rows);
    for (int64_t r = unit * kColumnSumRows; r < end; ++r)
      for (int c = 0; c < columns; ++c)
        out[c] += static_cast<double>(static_cast<Master<T>>(x[r * columns + c]));
  });
  add_units(columns, units, partial, columns, sums, mode);
}

#define MONO_INSTANTIATE(T) \
  template void column_sums(int, int, const T*, Master<T>*, GradMode, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
