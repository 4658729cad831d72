#include "kernels/pool/pool.cuh"

#include "kernels/pool/pool_loops.h"

namespace mono {
namespace {

PoolShape shape_of(const char* operation, const PoolProblem& p) {
  check_pool(operation, p);
  return {.H = p.H,
          .W = p.W,
          .P = p.P(),
          .Q = p.Q(),
          .C = p.C,
          .window = p.window,
          .stride = p.stride,
          .pad = p.pad,
          .ldx = p.ldx ? p.ldx : p.C,
          .ldy = p.ldy ? p.ldy : p.C};
}

LaunchShape rows_shape(int64_t packs_a_row, int rows, int images) {
  return {dim3(blocks_for(packs_a_row, kPoolThreads), static_cast<unsigned>(rows),
               static_cast<unsigned>(images)),
          kPoolThreads, 0};
}

// Calls f.operator()<V>() with the width of a thread's pack.
template <class T, class F>
void dispatch_width(bool packs, F&& f) {
  if (packs)
    f.template operator()<kPackWidth<T>>();
  else
    f.template operator()<1>();
}

template <class F>
void dispatch_window(int window, F&& f) {
  if (window == 2)
    f.template operator()<2>();
  else if (window == 3)
    f.template operator()<3>();
  else
    f.template operator()<0>();
}

template <class T, bool kMax>
void backward(const char* operation, Stream stream, const PoolProblem& problem, const T* dy,
              const uint8_t* argmax, T* dx, GradMode mode) {
  const PoolShape s = shape_of(operation, problem);
  if (mode == GradMode::ignore) return;
  // Bytes of argmax in packs of as many elements: C is a multiple, the base has to be.
  const bool packs = packs_fit(dy, s.ldy, s.C) && packs_fit(dx, s.ldx, s.C) &&
                     reinterpret_cast<uintptr_t>(argmax) % 8 == 0;
  dispatch_width<T>(packs, [&]<int V>() {
    launch<pool_backward_kernel<T, V, kMax>>(stream,
                                             rows_shape(int64_t{s.W} * (s.C / V), s.H, problem.N),
                                             s, dy, argmax, dx, mode == GradMode::accumulate);
  });
}

void check_global(const char* operation, int N, int H, int W, int C, int ldx) {
  MONO_CHECK(N >= 0 && H >= 1 && W >= 1 && C >= 1 && (ldx == 0 || ldx >= C),
             "{}: n{} h{}w{} c{} ldx {}", operation, N, H, W, C, ldx);
}

}  // namespace

template <class T>
void max_pool_forward(Stream stream, const PoolProblem& problem, const T* x, T* y,
                      uint8_t* argmax) {
  if (!stream.on_gpu()) return max_pool_forward<T>(problem, x, y, argmax);
  const PoolShape s = shape_of("max_pool_forward", problem);
  check_max_pool(problem);
  const bool packs = packs_fit(x, s.ldx, s.C) && packs_fit(y, s.ldy, s.C) &&
                     reinterpret_cast<uintptr_t>(argmax) % 8 == 0;
  dispatch_width<T>(packs, [&]<int V>() {
    dispatch_window(s.window, [&]<int kWindow>() {
      launch<max_pool_forward_kernel<T, V, kWindow>>(
          stream, rows_shape(int64_t{s.Q} * (s.C / V), s.P, problem.N), s, x, y, argmax);
    });
  });
}

template <class T>
void max_pool_backward(Stream stream, const PoolProblem& problem, const T* dy,
                       const uint8_t* argmax, T* dx, GradMode mode) {
  if (!stream.on_gpu()) return max_pool_backward<T>(problem, dy, argmax, dx, mode);
  backward<T, true>("max_pool_backward", stream, problem, dy, argmax, dx, mode);
}

template <class T>
void average_pool_forward(Stream stream, const PoolProblem& problem, const T* x, T* y) {
  if (!stream.on_gpu()) return average_pool_forward<T>(problem, x, y);
  const PoolShape s = shape_of("average_pool_forward", problem);
  dispatch_width<T>(packs_fit(x, s.ldx, s.C) && packs_fit(y, s.ldy, s.C), [&]<int V>() {
    dispatch_window(s.window, [&]<int kWindow>() {
      launch<average_pool_forward_kernel<T, V, kWindow>>(
          stream, rows_shape(int64_t{s.Q} * (s.C / V), s.P, problem.N), s, x, y);
    });
  });
}

template <class T>
void average_pool_backward(Stream stream, const PoolProblem& problem, const T* dy, T* dx,
                           GradMode mode) {
  if (!stream.on_gpu()) return average_pool_backward<T>(problem, dy, dx, mode);
  backward<T, false>("average_pool_backward", stream, problem, dy, nullptr, dx, mode);
}

template <class T>
void global_average_pool_forward(Stream stream, int N, int H, int W, int C, int ldx, const T* x,
                                 T* y) {
  if (!stream.on_gpu()) return global_average_pool_forward<T>(N, H, W, C, ldx, x, y);
  check_global("global_average_pool_forward", N, H, W, C, ldx);
  const int64_t pitch = ldx ? ldx : C;
  dispatch_width<T>(packs_fit(x, pitch, C) && packs_fit(y, C, C), [&]<int V>() {
    const int packs = C / V, tiles = (packs + 31) / 32, width = (packs + tiles - 1) / tiles;
    const LaunchShape shape{
        dim3(static_cast<unsigned>(tiles), static_cast<unsigned>(N)),
        dim3(static_cast<unsigned>(width), static_cast<unsigned>(kPoolThreads / width)), 0};
    launch<global_average_forward_kernel<T, V>>(stream, shape, int64_t{H} * W, C, pitch, x, y);
  });
}

template <class T>
void global_average_pool_backward(Stream stream, int N, int H, int W, int C, int ldx, const T* dy,
                                  T* dx, GradMode mode) {
  if (!stream.on_gpu()) return global_average_pool_backward<T>(N, H, W, C, ldx, dy, dx, mode);
  check_global("global_average_pool_backward", N, H, W, C, ldx);
  if (mode == GradMode::ignore) return;
  const int64_t pitch = ldx ? ldx : C, pixels = int64_t{H} * W;
  const auto weight = static_cast<Master<T>>(1.0 / static_cast<double>(pixels));
  dispatch_width<T>(packs_fit(dx, pitch, C) && packs_fit(dy, C, C), [&]<int V>() {
    launch<global_average_backward_kernel<T, V>>(
        stream,
        {dim3(blocks_for(pixels * (C / V), kPoolThreads), static_cast<unsigned>(N)), kPoolThreads,
         0},
        pixels, C, pitch, dy, dx, weight, mode == GradMode::accumulate);
  });
}

#define MONO_INSTANTIATE(T)                                                                 \
  template void max_pool_forward(Stream, const PoolProblem&, const T*, T*, uint8_t*);       \
  template void max_pool_backward(Stream, const PoolProblem&, const T*, const uint8_t*, T*, \
                                  GradMode);                                                \
  template void average_pool_forward(Stream, const PoolProblem&, const T*, T*);             \
  template void average_pool_backward(Stream, const PoolProblem&, const T*, T*, GradMode);  \
  template void global_average_pool_forward(Stream, int, int, int, int, int, const T*, T*); \
  template void global_average_pool_backward(Stream, int, int, int, int, int, const T*, T*, \
                                             GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
