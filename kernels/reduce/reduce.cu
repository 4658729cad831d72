#include "kernels/reduce/reduce.cuh"

#include <algorithm>

#include "kernels/base/workspace.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/reduce/reduce.h"

namespace mono {
namespace {

constexpr int kMostBlocks = 1024;     // of a sum of squares: one block adds them up
constexpr int64_t kLeastUnit = 4096;  // elements

}  // namespace

template <class T>
void column_sums(Stream stream, int rows, int columns, const T* x, Master<T>* sums, GradMode mode) {
  if (!stream.on_gpu()) return column_sums<T>(rows, columns, x, sums, mode);
  if (mode == GradMode::ignore) return;
  launch<column_sums_kernel<T>>(stream, {blocks_for(columns, kReduceThreads), kReduceThreads}, rows,
                                columns, x, sums, mode == GradMode::accumulate);
}

size_t sum_of_squares_workspace_bytes(Device device) {
  return device == Device::cpu ? 0 : kMostBlocks * sizeof(double);
}

template <class M>
void sum_of_squares(Stream stream, int64_t n, const M* x, double* into,
                    std::span<std::byte> workspace) {
  if (!stream.on_gpu()) {
    *into = sum_of_squares<M>(n, x);
    return;
  }
  WorkspaceLayout work("sum_of_squares", workspace);
  double* partial = work.take<double>(kMostBlocks);
  const int64_t unit = std::max(kLeastUnit, (n + kMostBlocks - 1) / kMostBlocks);
  const int blocks = static_cast<int>((n + unit - 1) / unit);
  launch<squares_kernel<M>>(stream, {static_cast<unsigned>(blocks), kReduceThreads}, n, unit, x,
                            partial);
  launch<total_kernel<double>>(stream, {1, kReduceThreads}, blocks, partial, 1.0, 1.0, false, into);
}

template <class M>
void add_mean(Stream stream, int n, const M* x, double weight, double* into) {
  if (!stream.on_gpu()) return add_mean<M>(n, x, weight, into);
  launch<total_kernel<M>>(stream, {1, kReduceThreads}, n, x, weight, static_cast<double>(n), true,
                          into);
}

template <class T>
void add_accuracy(Stream stream, int rows, int columns, const T* logits, const float* targets,
                  double* into) {
  if (!stream.on_gpu()) return add_accuracy<T>(rows, columns, logits, targets, into);
  launch<accuracy_kernel<T>>(stream, {1, kReduceThreads}, rows, columns, logits, targets, into);
}

#define MONO_INSTANTIATE(T)                                                    \
  template void column_sums(Stream, int, int, const T*, Master<T>*, GradMode); \
  template void add_accuracy(Stream, int, int, const T*, const float*, double*);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
#define MONO_INSTANTIATE_MASTER(M)                                                        \
  template void sum_of_squares(Stream, int64_t, const M*, double*, std::span<std::byte>); \
  template void add_mean(Stream, int, const M*, double, double*);
MONO_INSTANTIATE_MASTER(float)
MONO_INSTANTIATE_MASTER(double)

}  // namespace mono
