#include "kernels/reduce/reduce.cuh"

#include "kernels/base/workspace.h"

namespace mono {

template <class T>
void column_sums(Stream stream, int rows, int columns, const T* x, Master<T>* sums, GradMode mode,
                 std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return column_sums<T>(rows, columns, x, sums, mode, workspace);
  if (mode == GradMode::ignore) return;
  const int units = (rows + kColumnSumRows - 1) / kColumnSumRows;
  double* const partial =
      WorkspaceLayout("column_sums", workspace).take<double>(int64_t{units} * columns);
  const unsigned blocks = blocks_for(columns, 256);
  launch<column_sums_kernel<T>>(stream, {dim3(blocks, static_cast<unsigned>(units)), 256}, rows,
                                columns, x, partial);
  launch<column_sums_merge_kernel<Master<T>>>(stream, {blocks, 256}, units, columns, partial, sums,
                                              mode == GradMode::accumulate);
}

#define MONO_INSTANTIATE(T) \
  template void column_sums(Stream, int, int, const T*, Master<T>*, GradMode, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
