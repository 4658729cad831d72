// Column sums: the gradient of a bias.
#pragma once

#include <cstdint>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

// sums[c] (+)= sum over rows of x (rows, columns), packed; in double, row after row. Traffic: x
// once. On the CPU, and on the stream's device.
template <class T>
void column_sums(int rows, int columns, const T* x, Master<T>* sums, GradMode mode);
template <class T>
void column_sums(Stream stream, int rows, int columns, const T* x, Master<T>* sums, GradMode mode);

}  // namespace mono
