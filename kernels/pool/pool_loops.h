// The vectorised loops of pooling: one row of output (forward) or of input gradient (backward)
// each. Private to this folder.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/pool/pool.h"

namespace mono {

struct PoolExtents {  // in elements
  int64_t x_row, x_image, y_row, y_image, argmax_row, argmax_image;
};
// Throws unless the problem makes sense.
PoolExtents check_pool(const char* operation, const PoolProblem& problem);
// Throws where a window may lie in the padding alone.
void check_max_pool(const PoolProblem& problem);

// Output row (n, p): x (H,W,C) is the image, y and argmax the row.
MONO_DECLARE_SIMD(template <class T> void max_pool_forward_row(const PoolProblem& problem, int p,
                                                               const T* x, T* y, uint8_t* argmax))
MONO_DECLARE_SIMD(template <class T> void average_pool_forward_row(const PoolProblem& problem,
                                                                   int p, const T* x, T* y))
// Input row (n, h): dy and argmax (P,Q,C) are the image's, dx the row. Null argmax: average.
MONO_DECLARE_SIMD(template <class T> void pool_backward_row(const PoolProblem& problem, int h,
                                                            const T* dy, const uint8_t* argmax,
                                                            T* dx, bool accumulate))
// Channels [0, channels) of one image, channels <= kPoolChannelBlock.
inline constexpr int kPoolChannelBlock = 256;
MONO_DECLARE_SIMD(template <class T> void global_average_forward_block(int H, int W, int channels,
                                                                       int64_t ldx, const T* x,
                                                                       T* y))
MONO_DECLARE_SIMD(template <class T> void global_average_backward_row(int H, int W, int C,
                                                                      int64_t ldx, const T* dy,
                                                                      T* dx, bool accumulate))

}  // namespace mono
