// Pooling on the CPU: rows of the output (forward) or of the input gradient (backward) in parallel.
#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/pool/pool.h"
#include "kernels/pool/pool_loops.h"

namespace mono {

PoolExtents check_pool(const char* operation, const PoolProblem& p) {
  MONO_CHECK(p.N >= 1 && p.H >= 1 && p.W >= 1 && p.C >= 1 && p.window >= 1 && p.window <= 15 &&
                 p.stride >= 1 && p.pad >= 0 && p.pad < p.window && p.P() >= 1 && p.Q() >= 1 &&
                 (p.ldx == 0 || p.ldx >= p.C) && (p.ldy == 0 || p.ldy >= p.C),
             "{}: n{} h{}w{} c{} window {} stride {} pad {} ldx {} ldy {}", operation, p.N, p.H,
             p.W, p.C, p.window, p.stride, p.pad, p.ldx, p.ldy);
  const int64_t x_row = int64_t{p.W} * (p.ldx ? p.ldx : p.C);
  const int64_t y_row = int64_t{p.Q()} * (p.ldy ? p.ldy : p.C);
  const int64_t argmax_row = int64_t{p.Q()} * p.C;
  return {x_row, x_row * p.H, y_row, y_row * p.P(), argmax_row, argmax_row * p.P()};
}

void check_max_pool(const PoolProblem& problem) {
  MONO_CHECK(2 * problem.pad <= problem.window,
             "max_pool_forward: pad {} leaves windows of {} without a pixel", problem.pad,
             problem.window);
}

namespace {

template <class T>
void backward(const char* operation, const PoolProblem& problem, const T* dy, const uint8_t* argmax,
              T* dx, GradMode mode) {
  const PoolExtents e = check_pool(operation, problem);
  if (mode == GradMode::ignore) return;
  parallel_for(int64_t{problem.N} * problem.H, [&](int64_t unit, int) {
    const int64_t n = unit / problem.H, h = unit % problem.H;
    MONO_SIMD(pool_backward_row<T>(problem, static_cast<int>(h), dy + n * e.y_image,
                                   argmax ? argmax + n * e.argmax_image : nullptr,
                                   dx + n * e.x_image + h * e.x_row, mode == GradMode::accumulate));
  });
}

}  // namespace

template <class T>
void max_pool_forward(const PoolProblem& problem, const T* x, T* y, uint8_t* argmax) {
  const PoolExtents e = check_pool("max_pool_forward", problem);
  check_max_pool(problem);
  const int P = problem.P();
  parallel_for(int64_t{problem.N} * P, [&](int64_t unit, int) {
    const int64_t n = unit / P, p = unit % P;
    MONO_SIMD(max_pool_forward_row<T>(problem, static_cast<int>(p), x + n * e.x_image,
                                      y + n * e.y_image + p * e.y_row,
                                      argmax + n * e.argmax_image + p * e.argmax_row));
  });
}

template <class T>
void max_pool_backward(const PoolProblem& problem, const T* dy, const uint8_t* argmax, T* dx,
                       GradMode mode) {
  backward("max_pool_backward", problem, dy, argmax, dx, mode);
}

template <class T>
void average_pool_forward(const PoolProblem& problem, const T* x, T* y) {
  const PoolExtents e = check_pool("average_pool_forward", problem);
  const int P = problem.P();
  parallel_for(int64_t{problem.N} * P, [&](int64_t unit, int) {
    const int64_t n = unit / P, p = unit % P;
    MONO_SIMD(average_pool_forward_row<T>(problem, static_cast<int>(p), x + n * e.x_image,
                                          y + n * e.y_image + p * e.y_row));
  });
}

template <class T>
void average_pool_backward(const PoolProblem& problem, const T* dy, T* dx, GradMode mode) {
  backward<T>("average_pool_backward", problem, dy, nullptr, dx, mode);
}

template <class T>
void global_average_pool_forward(int N, int H, int W, int C, int ldx, const T* x, T* y) {
  const int64_t pitch = ldx ? ldx : C, blocks = (C + kPoolChannelBlock - 1) / kPoolChannelBlock;
  parallel_for(N * blocks, [&](int64_t unit, int) {
    const int64_t n = unit / blocks;
    const int c = static_cast<int>(unit % blocks) * kPoolChannelBlock;
    MONO_SIMD(global_average_forward_block<T>(H, W, std::min(kPoolChannelBlock, C - c), pitch,
                                              x + n * H * W * pitch + c, y + n * C + c));
  });
}

template <class T>
void global_average_pool_backward(int N, int H, int W, int C, int ldx, const T* dy, T* dx,
                                  GradMode mode) {
  if (mode == GradMode::ignore) return;
  const int64_t pitch = ldx ? ldx : C;
  parallel_for(int64_t{N} * H, [&](int64_t row, int) {
    MONO_SIMD(global_average_backward_row<T>(H, W, C, pitch, dy + row / H * C, dx + row * W * pitch,
                                             mode == GradMode::accumulate));
  });
}

#define MONO_INSTANTIATE(T)                                                                    \
  template void max_pool_forward(const PoolProblem&, const T*, T*, uint8_t*);                  \
  template void max_pool_backward(const PoolProblem&, const T*, const uint8_t*, T*, GradMode); \
  template void average_pool_forward(const PoolProblem&, const T*, T*);                        \
  template void average_pool_backward(const PoolProblem&, const T*, T*, GradMode);             \
  template void global_average_pool_forward(int, int, int, int, int, const T*, T*);            \
  template void global_average_pool_backward(int, int, int, int, int, const T*, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
