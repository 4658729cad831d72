// Sums that end in one number or in one row: gradient norms, bias gradients, and the figures of a
// training step, which add up on the device and are read once. All in double, in an order fixed by
// the problem; NaN and infinity propagate. Traffic: the operand once.
//
// Each function runs on the stream's device; without a stream on the CPU.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

// sums[c] (+)= sum over rows of x (rows, columns), packed.
template <class T>
void column_sums(int rows, int columns, const T* x, Master<T>* sums, GradMode mode);
template <class T>
void column_sums(Stream stream, int rows, int columns, const T* x, Master<T>* sums, GradMode mode);

// *into = sum of x[i]^2.
size_t sum_of_squares_workspace_bytes(Device device);
template <class M>
void sum_of_squares(Stream stream, int64_t n, const M* x, double* into,
                    std::span<std::byte> workspace);

// *into += weight * (sum of x / n)
template <class M>
void add_mean(int n, const M* x, double weight, double* into);
template <class M>
void add_mean(Stream stream, int n, const M* x, double weight, double* into);

// *into += the share of rows whose largest logit is where the target is largest (the first of
// equals). logits and targets (rows, columns), packed.
template <class T>
void add_accuracy(int rows, int columns, const T* logits, const float* targets, double* into);
template <class T>
void add_accuracy(Stream stream, int rows, int columns, const T* logits, const float* targets,
                  double* into);

}  // namespace mono
