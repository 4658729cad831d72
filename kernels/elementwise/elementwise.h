// Elementwise operations on packed arrays of n elements, and copies between pitched images.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

template <class T>
void add(int64_t n, const T* a, const T* b, T* y);  // y may alias a or b
template <class T>
void relu_forward(int64_t n, const T* x, T* y);  // y may alias x
template <class T>
void relu_backward(int64_t n, const T* dy, const T* y, T* dx, GradMode mode);
template <class T>
void scale_into(int64_t n, Master<T> alpha, const T* x, T* y, GradMode mode);
template <class To, class From>
void convert(int64_t n, const From* x, To* y);

// y[i, 0..C) = x[i, 0..C) for i < pixels, with pixel pitches ldx and ldy.
template <class To, class From>
void copy_channels(int64_t pixels, int C, const From* x, int ldx, To* y, int ldy, GradMode mode);

// Sum of squares in double over fixed units in a fixed order (gradient norm); NaN and infinity
// propagate.
template <class M>
double sum_of_squares(int64_t n, const M* x);

// Rows of a table: y[r, 0..C) = table[index[r], 0..C), rows at pitches ld_table and ldy. Null
// index: row r.
template <class M>
void copy_rows(int rows, int C, const M* table, int64_t ld_table, const int* index, M* y,
               int64_t ldy);

// The same on the stream's device (a CPU stream: the functions above). f32 and bf16 activations on
// the GPU; masters as well as activations for convert and copy_channels.
template <class T>
void add(Stream stream, int64_t n, const T* a, const T* b, T* y);
template <class T>
void relu_forward(Stream stream, int64_t n, const T* x, T* y);
template <class T>
void relu_backward(Stream stream, int64_t n, const T* dy, const T* y, T* dx, GradMode mode);
template <class T>
void scale_into(Stream stream, int64_t n, Master<T> alpha, const T* x, T* y, GradMode mode);
template <class To, class From>
void convert(Stream stream, int64_t n, const From* x, To* y);
template <class To, class From>
void copy_channels(Stream stream, int64_t pixels, int C, const From* x, int ldx, To* y, int ldy,
                   GradMode mode);
template <class M>
void copy_rows(Stream stream, int rows, int C, const M* table, int64_t ld_table, const int* index,
               M* y, int64_t ldy);
// scale_into with a factor that changes from step to step: *alpha lies on the stream's device.
template <class T>
void scale_by(Stream stream, int64_t n, const double* alpha, const T* x, T* y, GradMode mode);
// *result, on the stream's device, receives the sum.
template <class M>
void sum_of_squares(Stream stream, int64_t n, const M* x, double* result,
                    std::span<std::byte> workspace);
size_t sum_of_squares_workspace_bytes(Device device, int64_t n);

}  // namespace mono
