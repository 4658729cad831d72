// GELU with the exact normal distribution (erf), on packed arrays:
//   y = x Phi(x),  dx (+)= dy (Phi(x) + x phi(x))
// Phi and phi: the standard normal distribution and density. In f32 and bf16 the tail Phi(-|x|) is
// computed to a few 1e-8 of itself, so that negative x lose nothing to cancellation (as 1 + erf
// does). Traffic: each operand once. Hendrycks, Gimpel: Gaussian Error Linear Units (2016).
#pragma once

#include <cstdint>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

template <class T>
void gelu_forward(int64_t n, const T* x, T* y);  // y may alias x
template <class T>
void gelu_backward(int64_t n, const T* dy, const T* x, T* dx, GradMode mode);  // dx may alias dy

// The same on the stream's device (a CPU stream: the functions above).
template <class T>
void gelu_forward(Stream stream, int64_t n, const T* x, T* y);
template <class T>
void gelu_backward(Stream stream, int64_t n, const T* dy, const T* x, T* dx, GradMode mode);

}  // namespace mono
