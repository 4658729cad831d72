// L2 normalisation of rows (torch.nn.functional.normalize).
//
//   y = x / n,  n = max(||x||, eps)
//   dx = (dy - y (y . dy)) / n        where ||x|| <= eps: dx = dy / eps
//
// Sums in double. Traffic: forward reads x twice (from the second time on out of the cache) and
// writes y; backward reads x and dy twice, writes dx.
#pragma once

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

// x, y (rows, C) packed; y may alias x. norms (rows) receives n, for backward.
template <class T>
void l2_normalise_forward(int rows, int C, double eps, const T* x, T* y, Master<T>* norms);
// dx may alias dy.
template <class T>
void l2_normalise_backward(int rows, int C, double eps, const T* x, const Master<T>* norms,
                           const T* dy, T* dx, GradMode mode);

// The same on the stream's device.
template <class T>
void l2_normalise_forward(Stream stream, int rows, int C, double eps, const T* x, T* y,
                          Master<T>* norms);
template <class T>
void l2_normalise_backward(Stream stream, int rows, int C, double eps, const T* x,
                           const Master<T>* norms, const T* dy, T* dx, GradMode mode);

}  // namespace mono
