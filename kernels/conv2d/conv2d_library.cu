#include "kernels/conv2d/conv2d_library.cuh"

#include <algorithm>
#include <type_traits>

#include "kernels/base/workspace.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d_launch.cuh"
#include "kernels/conv2d/conv2d_library.h"
#include "kernels/elementwise/elementwise.h"

namespace mono::conv2d_gpu {
namespace {

int64_t input_pixels(const ConvProblem& p) {
  return int64_t{p.N} * p.H * p.W;
}
int64_t output_pixels(const ConvProblem& p) {
  return int64_t{p.N} * p.P() * p.Q();
}
int64_t weights(const ConvProblem& p) {
  return int64_t{p.K} * p.R * p.S * p.C;
}
BatchNormProblem output_statistics(const ConvProblem& p, int ld) {
  return {.N = p.N, .H = p.P(), .W = p.Q(), .C = p.K, .ldx = ld};
}
int tiles_of(const Segments& segments, int image_pixels) {
  int tiles = 0;
  for (int s = 0; s < segments.count; ++s)
    tiles +=
        ((segments.end(s) - segments.begin(s)) * image_pixels + kLibraryRows - 1) / kLibraryRows;
  return tiles;
}

// Whether the library can take rows of C values as they are.
template <class X>
bool is_plain(const X* x, int ld, int C) {
  return ld == C && reinterpret_cast<uintptr_t>(x) % 16 == 0;
}

// Packed operands of type T; what follows is for the library, or for statistics after it.
template <class T>
struct Packed {
  T *x, *w, *y;
  float2* units = nullptr;  // of the sums of dgrad

  Packed(ConvPass pass, const ConvProblem& p, int segments, WorkspaceLayout& work) {
    x = work.take<T>(input_pixels(p) * p.C);
    w = work.take<T>(weights(p));
    y = work.take<T>(output_pixels(p) * p.K);
    if (pass == ConvPass::dgrad)
      units = work.take<float2>((input_pixels(p) / kLibraryRows + segments) * p.C);
  }
};

// An operand packed: itself, or a copy.
template <class T>
const T* packed(Stream stream, int64_t pixels, int C, const T* x, int ld, T* copy) {
  if (is_plain(x, ld, C)) return x;
  copy_channels<T, T>(stream, pixels, C, x, ld, copy, C, GradMode::overwrite);
  return copy;
}
// z = prologue(x), packed.
template <class T>
const T* packed_input(Stream stream, const ConvProblem& p, const T* x,
                      const ScaleShiftRelu<T>& prologue, const Segments& segments, T* copy) {
  if (!prologue.scale) return packed(stream, input_pixels(p), p.C, x, p.ldx, copy);
  batch_norm_apply<T>(stream, {.N = p.N, .H = p.H, .W = p.W, .C = p.C, .ldx = p.ldx}, x, segments,
                      prologue.scale, prologue.shift, nullptr, copy);
  return copy;
}
template <class T>
const T* rounded_filter(Stream stream, const ConvProblem& p, const float* w, T* copy) {
  if constexpr (std::is_same_v<T, float>)
    if (is_plain(w, 1, 1)) return w;
  convert<T, float>(stream, weights(p), w, copy);
  return copy;
}

template <class T>
void run(Stream stream, const PlainConvolution& plain, ConvPass pass, const ConvProblem& problem,
         const T* x, const T* w, const T* y, std::span<std::byte> workspace) {
  ConvProblem p = problem;
  p.ldx = p.C;
  p.ldy = p.K;
  // The library's interface does not know const; the pass says which one is written.
  plain.run(stream, pass, p, kDTypeOf<T>, {const_cast<T*>(x), const_cast<T*>(w), const_cast<T*>(y)},
            workspace);
}

}  // namespace

size_t library_workspace_bytes(const PlainConvolution& plain, ConvPass pass,
                               const ConvProblem& problem, DType dtype, int segments) {
  ConvProblem p = problem;
  p.ldx = p.C;
  p.ldy = p.K;
  WorkspaceLayout work;
  if (dtype == DType::bf16)
    Packed<bf16>(pass, p, segments, work);
  else
    Packed<float>(pass, p, segments, work);
  size_t rest = plain.workspace_bytes(pass, p, dtype);
  if (pass == ConvPass::fprop)
    rest = std::max(rest,
                    batch_norm_workspace_bytes(kGpu, output_statistics(p, p.K), dtype, segments));
  return work.used() + rest;
}

template <class T>
void library_fprop(Stream stream, const PlainConvolution& plain, const ConvProblem& p,
                   const ConvFprop<T>& args, std::span<std::byte> workspace) {
  WorkspaceLayout work("conv2d_fprop", workspace);
  const Packed<T> scratch(ConvPass::fprop, p, args.segments.count, work);
  const T* z = packed_input(stream, p, args.x, args.prologue, args.segments, scratch.x);
  const T* w = rounded_filter(stream, p, args.w, scratch.w);
  T* y = is_plain(args.y, p.ldy, p.K) ? args.y : scratch.y;
  run(stream, plain, ConvPass::fprop, p, z, w, y, work.rest());
  if (y != args.y)
    copy_channels<T, T>(stream, output_pixels(p), p.K, y, p.K, args.y, p.ldy, GradMode::overwrite);
  if (args.moments.mean)
    batch_norm_moments<T>(stream, output_statistics(p, p.K), y, args.segments, args.moments.mean,
                          args.moments.variance, args.moments.ld, work.rest());
}

template <class T, class GradT>
void library_dgrad(Stream stream, const PlainConvolution& plain, const ConvProblem& p,
                   const ConvDgrad<T, GradT>& args, std::span<std::byte> workspace) {
  WorkspaceLayout work("conv2d_dgrad", workspace);
  const Packed<T> scratch(ConvPass::dgrad, p, args.segments.count, work);
  const T* g = nullptr;
  if constexpr (std::is_same_v<T, GradT>)
    if (!args.a && !args.b && !args.g_out && is_plain(args.dy, args.lddy, p.K)) g = args.dy;
  if (!g) {
    T* to = args.g_out && is_plain(args.g_out, p.K, p.K) ? args.g_out : scratch.y;
    launch_gradient_prologue(stream, p, args, to);
    g = to;
    if (args.g_out && to != args.g_out)
      copy_channels<T, T>(stream, output_pixels(p), p.K, g, p.K, args.g_out, p.K,
                          GradMode::overwrite);
  }
  const T* w = rounded_filter(stream, p, args.w, scratch.w);
  const bool sums = args.sum_dz || args.sum_dzx;
  if constexpr (std::is_same_v<T, GradT>)
    if (!args.mask.scale && !args.multiply && !sums && args.mode == GradMode::overwrite &&
        is_plain(args.dx, args.lddx, p.C))
      return run(stream, plain, ConvPass::dgrad, p, args.dx, w, g, work.rest());
  run(stream, plain, ConvPass::dgrad, p, scratch.x, w, g, work.rest());

  Product<T> destination{};
  destination.out_H = p.H;
  destination.out_W = p.W;
  destination.columns = p.C;
  destination.offsets = args.segments.gpu_offsets;
  destination.segments = args.segments.count;
  using Epilogue = StoreInputGradient<T, GradT>;
  const Epilogue epilogue{.scale = args.mask.scale,
                          .shift = args.mask.shift,
                          .x = args.x,
                          .ldx = p.ldx,
                          .x_pairs = false,
                          .mean = args.sum_dzx ? args.mean : nullptr,
                          .mean_ld = args.mean_ld,
                          .multiply = args.multiply,
                          .dx = args.mode == GradMode::ignore ? nullptr : args.dx,
                          .lddx = args.lddx,
                          .dx_pairs = false,
                          .accumulate = args.mode == GradMode::accumulate,
                          .units = sums ? scratch.units : nullptr};
  const int column_tiles = (p.C + kLibraryColumns - 1) / kLibraryColumns;
  const int tiles = tiles_of(args.segments, p.H * p.W);
  launch<library_epilogue_kernel<T, Epilogue>>(
      stream, {static_cast<unsigned>(tiles * column_tiles), kLibraryThreads}, destination, epilogue,
      scratch.x, column_tiles);
  if (sums)
    launch<merge_sums_kernel<T>>(stream, merge_shape(p.C, args.segments.count), scratch.units, p.C,
                                 args.segments.gpu_offsets, p.H * p.W, kLibraryRows, 1, args.sum_dz,
                                 args.sum_dzx);
}

template <class T>
void library_wgrad(Stream stream, const PlainConvolution& plain, const ConvProblem& p,
                   const ConvWgrad<T>& args, std::span<std::byte> workspace) {
  WorkspaceLayout work("conv2d_wgrad", workspace);
  const Packed<T> scratch(ConvPass::wgrad, p, args.segments.count, work);
  const T* z = packed_input(stream, p, args.x, args.prologue, args.segments, scratch.x);
  const T* g = packed(stream, output_pixels(p), p.K, args.g, args.ldg, scratch.y);
  run(stream, plain, ConvPass::wgrad, p, z, scratch.w, g, work.rest());
  const int filter = p.R * p.S * p.C;
  copy_channels<float, T>(stream, p.K, filter, scratch.w, filter, args.dw, filter, args.mode);
}

#define MONO_INSTANCE(T)                                                           \
  template void library_fprop(Stream, const PlainConvolution&, const ConvProblem&, \
                              const ConvFprop<T>&, std::span<std::byte>);          \
  template void library_wgrad(Stream, const PlainConvolution&, const ConvProblem&, \
                              const ConvWgrad<T>&, std::span<std::byte>);
#define MONO_DGRAD_INSTANCE(T, GradT)                                              \
  template void library_dgrad(Stream, const PlainConvolution&, const ConvProblem&, \
                              const ConvDgrad<T, GradT>&, std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_DGRAD_INSTANCE(float, float)
MONO_DGRAD_INSTANCE(bf16, bf16)
MONO_DGRAD_INSTANCE(bf16, float)

}  // namespace mono::conv2d_gpu
