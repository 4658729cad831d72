// Pooling: max and average windows, and global average.
//
// Max pooling keeps, per output, the window index of its first maximum (row-major) as one byte, so
// backward needs neither x nor y; padding never wins. Average pooling divides by the full window
// (count_include_pad, as torchvision's 2x2/2 never pads).
#pragma once

#include <cstdint>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

struct PoolProblem {
  int N, H, W, C;
  int window, stride, pad = 0;
  int ldx = 0;  // pixel pitch of x and dx; 0: C
  int ldy = 0;  // pixel pitch of y and dy; 0: C

  int P() const { return (H + 2 * pad - window) / stride + 1; }
  int Q() const { return (W + 2 * pad - window) / stride + 1; }
};

template <class T>
void max_pool_forward(const PoolProblem& problem, const T* x, T* y,
                      uint8_t* argmax /* (N,P,Q,C) */);
template <class T>
void max_pool_backward(const PoolProblem& problem, const T* dy, const uint8_t* argmax, T* dx,
                       GradMode mode);
template <class T>
void average_pool_forward(const PoolProblem& problem, const T* x, T* y);
template <class T>
void average_pool_backward(const PoolProblem& problem, const T* dy, T* dx, GradMode mode);

// y (N,C) = mean over pixels of x (N,H,W,C) pitch ldx (0: C).
template <class T>
void global_average_pool_forward(int N, int H, int W, int C, int ldx, const T* x, T* y);
template <class T>
void global_average_pool_backward(int N, int H, int W, int C, int ldx, const T* dy, T* dx,
                                  GradMode mode);

// The same on the stream's device (a CPU stream: the functions above).
template <class T>
void max_pool_forward(Stream stream, const PoolProblem& problem, const T* x, T* y, uint8_t* argmax);
template <class T>
void max_pool_backward(Stream stream, const PoolProblem& problem, const T* dy,
                       const uint8_t* argmax, T* dx, GradMode mode);
template <class T>
void average_pool_forward(Stream stream, const PoolProblem& problem, const T* x, T* y);
template <class T>
void average_pool_backward(Stream stream, const PoolProblem& problem, const T* dy, T* dx,
                           GradMode mode);
template <class T>
void global_average_pool_forward(Stream stream, int N, int H, int W, int C, int ldx, const T* x,
                                 T* y);
template <class T>
void global_average_pool_backward(Stream stream, int N, int H, int W, int C, int ldx, const T* dy,
                                  T* dx, GradMode mode);

}  // namespace mono
