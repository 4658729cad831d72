#include "kernels/elementwise/elementwise.cuh"

#include <algorithm>
#include <type_traits>

#include "kernels/base/workspace.h"
#include "kernels/elementwise/elementwise.h"

namespace mono {
namespace {

constexpr int kThreads = 256;

LaunchShape shape_for(int64_t n) {
  return {static_cast<unsigned>(std::min<int64_t>((n + kThreads - 1) / kThreads, 65536)), kThreads,
          0};
}

// Calls f.operator()<V>() with the width of a pack that divides n elements at the given addresses.
template <class T, class F, class... Pointers>
void dispatch_width(int64_t n, F&& f, const Pointers*... pointers) {
  if (n % kPackWidth<T> == 0 && (packs_fit(pointers, 0, 0) && ...))
    f.template operator()<kPackWidth<T>>();
  else
    f.template operator()<1>();
}

// Units of the sum of squares: by n only, at most 1,024.
int64_t sum_unit(int64_t n) {
  constexpr int64_t kLeast = 8192, kMost = 1024;
  return std::max(kLeast, (n + kMost - 1) / kMost);
}
int64_t sum_units(int64_t n) {
  return (n + sum_unit(n) - 1) / sum_unit(n);
}

}  // namespace

template <class T>
void add(Stream stream, int64_t n, const T* a, const T* b, T* y) {
  if (!stream.on_gpu()) return add<T>(n, a, b, y);
  const auto run = [&]<int V>() {
    launch<add_kernel<T, V>>(stream, shape_for(n / V), n / V, a, b, y);
  };
  dispatch_width<T>(n, run, a, b, y);
}

template <class T>
void relu_forward(Stream stream, int64_t n, const T* x, T* y) {
  if (!stream.on_gpu()) return relu_forward<T>(n, x, y);
  const auto run = [&]<int V>() {
    launch<relu_forward_kernel<T, V>>(stream, shape_for(n / V), n / V, x, y);
  };
  dispatch_width<T>(n, run, x, y);
}

template <class T>
void relu_backward(Stream stream, int64_t n, const T* dy, const T* y, T* dx, GradMode mode) {
  if (!stream.on_gpu()) return relu_backward<T>(n, dy, y, dx, mode);
  if (mode == GradMode::ignore) return;
  const auto run = [&]<int V>() {
    launch<relu_backward_kernel<T, V>>(stream, shape_for(n / V), n / V, dy, y, dx,
                                       mode == GradMode::accumulate);
  };
  dispatch_width<T>(n, run, dy, y, dx);
}

template <class T>
void scale_into(Stream stream, int64_t n, Master<T> alpha, const T* x, T* y, GradMode mode) {
  if (!stream.on_gpu()) return scale_into<T>(n, alpha, x, y, mode);
  if (mode == GradMode::ignore) return;
  const auto run = [&]<int V>() {
    launch<scale_kernel<T, V>>(stream, shape_for(n / V), n / V, alpha, x, y,
                               mode == GradMode::accumulate);
  };
  dispatch_width<T>(n, run, x, y);
}

template <class To, class From>
void copy_channels(Stream stream, int64_t pixels, int C, const From* x, int ldx, To* y, int ldy,
                   GradMode mode) {
  if (!stream.on_gpu()) return copy_channels<To, From>(pixels, C, x, ldx, y, ldy, mode);
  if (mode == GradMode::ignore) return;
  MONO_CHECK(ldx >= C && ldy >= C, "copy_channels: {} channels at pitches {} and {}", C, ldx, ldy);
  using Wider = std::conditional_t<(sizeof(To) > sizeof(From)), To, From>;
  const auto run = [&]<int V>() {
    const int packs = C / V, tiles = (packs + 31) / 32, width = (packs + tiles - 1) / tiles;
    const int rows = kThreads / width;
    LaunchShape shape = shape_for((pixels + rows - 1) / rows * kThreads);
    shape.grid.y = static_cast<unsigned>(tiles);
    shape.block = dim3(static_cast<unsigned>(width), static_cast<unsigned>(rows));
    launch<copy_channels_kernel<To, From, V>>(stream, shape, pixels, C, x, ldx, y, ldy,
                                              mode == GradMode::accumulate);
  };
  // Packs of the wider type are 16 bytes, of the other one less; both are asked for 16.
  if (C % kPackWidth<Wider> == 0 && ldx % kPackWidth<Wider> == 0 && ldy % kPackWidth<Wider> == 0 &&
      packs_fit(x, 0, 0) && packs_fit(y, 0, 0))
    run.template operator()<kPackWidth<Wider>>();
  else
    run.template operator()<1>();
}

// An array is an image whose pixels are packs.
template <class To, class From>
void convert(Stream stream, int64_t n, const From* x, To* y) {
  if (!stream.on_gpu()) return convert<To, From>(n, x, y);
  const int pack = n % 8 == 0 ? 8 : 1;
  copy_channels<To, From>(stream, n / pack, pack, x, pack, y, pack, GradMode::overwrite);
}

template <class M>
void copy_rows(Stream stream, int rows, int C, const M* table, int64_t ld_table, const int* index,
               M* y, int64_t ldy) {
  if (!stream.on_gpu()) return copy_rows<M>(rows, C, table, ld_table, index, y, ldy);
  launch<copy_rows_kernel<M>>(stream, shape_for(int64_t{rows} * C), rows, C, table, ld_table, index,
                              y, ldy);
}

template <class T>
void scale_by(Stream stream, int64_t n, const double* alpha, const T* x, T* y, GradMode mode) {
  if (!stream.on_gpu()) return scale_into<T>(n, static_cast<Master<T>>(*alpha), x, y, mode);
  if (mode == GradMode::ignore) return;
  const auto run = [&]<int V>() {
    launch<scale_by_kernel<T, V>>(stream, shape_for(n / V), n / V, alpha, x, y,
                                  mode == GradMode::accumulate);
  };
  dispatch_width<T>(n, run, x, y);
}

size_t sum_of_squares_workspace_bytes(Device device, int64_t n) {
  WorkspaceLayout layout;
  if (device != Device::cpu) layout.take<double>(sum_units(n));
  return layout.used();
}

template <class M>
void sum_of_squares(Stream stream, int64_t n, const M* x, double* result,
                    std::span<std::byte> workspace) {
  if (!stream.on_gpu()) {
    *result = sum_of_squares<M>(n, x);
    return;
  }
  const int64_t units = sum_units(n);
  double* const sums = WorkspaceLayout("sum_of_squares", workspace).take<double>(units);
  launch<sum_of_squares_kernel<M>>(stream, {static_cast<unsigned>(units), kSumThreads, 0}, n,
                                   sum_unit(n), x, sums);
  launch<add_units_kernel<double>>(stream, {1, kSumThreads, 0}, static_cast<int>(units), sums,
                                   result);
}

#define MONO_INSTANTIATE_PAIR(To, From)                     \
  template void convert(Stream, int64_t, const From*, To*); \
  template void copy_channels(Stream, int64_t, int, const From*, int, To*, int, GradMode);
#define MONO_INSTANTIATE(T)                                                       \
  template void add(Stream, int64_t, const T*, const T*, T*);                     \
  template void relu_forward(Stream, int64_t, const T*, T*);                      \
  template void relu_backward(Stream, int64_t, const T*, const T*, T*, GradMode); \
  template void scale_into(Stream, int64_t, Master<T>, const T*, T*, GradMode);   \
  template void scale_by(Stream, int64_t, const double*, const T*, T*, GradMode); \
  MONO_INSTANTIATE_PAIR(T, float)                                                 \
  MONO_INSTANTIATE_PAIR(T, bf16)                                                  \
  MONO_INSTANTIATE_PAIR(T, double)
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
#define MONO_INSTANTIATE_MASTER(M)                                                       \
  template void copy_rows(Stream, int, int, const M*, int64_t, const int*, M*, int64_t); \
  template void sum_of_squares(Stream, int64_t, const M*, double*, std::span<std::byte>);
MONO_INSTANTIATE_MASTER(float)
MONO_INSTANTIATE_MASTER(double)

}  // namespace mono
