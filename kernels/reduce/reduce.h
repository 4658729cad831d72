// Column sums: the gradient of a bias.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

// sums[c] (+)= sum over rows of x (rows, columns), packed; in double: units of kColumnSumRows rows
// row after row, then the units in order. Traffic: x once. On the CPU, and on the stream's device.
inline constexpr int kColumnSumRows = 128;
template <class T>
void column_sums(int rows, int columns, const T* x, Master<T>* sums, GradMode mode,
                 std::span<std::byte> workspace);
template <class T>
void column_sums(Stream stream, int rows, int columns, const T* x, Master<T>* sums, GradMode mode,
                 std::span<std::byte> workspace);
size_t column_sums_workspace_bytes(int rows, int columns);

}  // namespace mono
