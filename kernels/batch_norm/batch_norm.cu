#include "kernels/batch_norm/batch_norm.cuh"

#include <algorithm>
#include <limits>

#include "kernels/base/workspace.h"

namespace mono {
namespace {

constexpr int64_t kUnitElements = 16384, kLeastUnitPixels = 128, kUnitsAnImage = 16;

int64_t ceil_div(int64_t a, int64_t b) {
  return (a + b - 1) / b;
}

// By the extents of one image only, so that a segment's sums are the same in any batch. A batch of
// 64 images is at least 1,000 blocks where images are large, and 100 where they are small.
int64_t unit_pixels(const BatchNormProblem& p) {
  const int64_t image = int64_t{p.H} * p.W;
  return std::max({kLeastUnitPixels, kUnitElements / p.C, ceil_div(image, kUnitsAnImage)});
}

int64_t slots(const BatchNormProblem& p, int segments) {
  return int64_t{p.N} * p.H * p.W / unit_pixels(p) + segments;
}

BatchNormPixels pixels_of(const char* operation, const BatchNormProblem& p, Segments segments) {
  check_batch_norm(operation, p, segments);
  MONO_CHECK(segments.gpu_offsets, "{}: segments without gpu_offsets on a stream of the GPU",
             operation);
  return {.image = int64_t{p.H} * p.W,
          .unit = unit_pixels(p),
          .C = p.C,
          .ldx = p.ldx ? p.ldx : p.C,
          .ldy = p.ldy ? p.ldy : p.C,
          .offsets = segments.gpu_offsets};
}

int most_images(Segments segments) {
  int most = 0;
  for (int s = 0; s < segments.count; ++s)
    most = std::max(most, segments.end(s) - segments.begin(s));
  return most;
}

// Blocks (unit, tile of channels, segment) of whole packs; units by the largest segment.
LaunchShape unit_shape(const BatchNormPixels& p, Segments segments, int width) {
  const int packs = (p.C + width - 1) / width, tiles = (packs + 31) / 32;
  const int x = (packs + tiles - 1) / tiles, y = kBatchNormThreads / x;
  const int64_t units = ceil_div(most_images(segments) * p.image, p.unit);
  return {dim3(static_cast<unsigned>(units), static_cast<unsigned>(tiles),
               static_cast<unsigned>(segments.count)),
          dim3(static_cast<unsigned>(x), static_cast<unsigned>(y)), 0};
}

LaunchShape merge_shape(int C, int segments) {
  return {dim3(blocks_for(C, kMergeColumns), static_cast<unsigned>(segments)),
          dim3(kMergeColumns, kMergeRows), 0};
}

LaunchShape flat_shape(int64_t n) {
  return {blocks_for(n, kBatchNormThreads), kBatchNormThreads, 0};
}

// Calls f.operator()<V>() with the width of a thread's pack; f64, for verification, has one.
template <class T, class F>
void dispatch_width(bool packs, F&& f) {
  if constexpr (sizeof(T) < 8)
    if (packs) return f.template operator()<kPackWidth<T>>();
  f.template operator()<1>();
}

template <class F>
void dispatch_mask(ReluMask mask, F&& f) {
  if (mask == ReluMask::none) f.template operator()<ReluMask::none>();
  if (mask == ReluMask::recompute) f.template operator()<ReluMask::recompute>();
  if (mask == ReluMask::from_y) f.template operator()<ReluMask::from_y>();
}

template <class M>
struct BackwardTables {  // of the workspace
  M *scale, *shift, *b, *c, *partial;

  BackwardTables(WorkspaceLayout& workspace, const BatchNormProblem& p, int segments) {
    const int64_t table = int64_t{segments} * p.C;
    scale = workspace.take<M>(table);
    shift = workspace.take<M>(table);
    b = workspace.take<M>(table);
    c = workspace.take<M>(table);
    partial = workspace.take<M>(slots(p, segments) * 2 * p.C);
  }
};

template <class M>
size_t workspace_bytes(const BatchNormProblem& p, int segments) {
  WorkspaceLayout moments, backward;
  moments.take<M>(slots(p, segments) * 3 * p.C);
  BackwardTables<M>(backward, p, segments);
  return std::max(moments.used(), backward.used());
}

}  // namespace

size_t batch_norm_workspace_bytes(Device device, const BatchNormProblem& problem, DType dtype,
                                  int segments) {
  if (device == Device::cpu) return batch_norm_workspace_bytes(problem, dtype, segments);
  return dtype == DType::f64 ? workspace_bytes<double>(problem, segments)
                             : workspace_bytes<float>(problem, segments);
}

template <class T>
void batch_norm_moments(Stream stream, const BatchNormProblem& problem, const T* x,
                        Segments segments, Master<T>* mean, Master<T>* variance, int ld,
                        std::span<std::byte> workspace, BatchNormVariant variant) {
  using M = Master<T>;
  if (!stream.on_gpu())
    return batch_norm_moments<T>(problem, x, segments, mean, variance, ld, workspace);
  const BatchNormPixels p = pixels_of("batch_norm_moments", problem, segments);
  const int64_t row = ld ? ld : p.C;
  if (variant == BatchNormVariant::naive) {
    launch<batch_norm_moments_naive_kernel<T>>(stream, flat_shape(int64_t{segments.count} * p.C), p,
                                               segments.count, x, mean, variance, row);
    return;
  }
  M* partial = WorkspaceLayout("batch_norm_moments", workspace)
                   .take<M>(slots(problem, segments.count) * 3 * p.C);
  dispatch_width<T>(packs_fit(x, p.ldx, p.C), [&]<int V>() {
    launch<batch_norm_moments_units_kernel<T, V>>(stream, unit_shape(p, segments, V), p, x,
                                                  partial);
  });
  launch<batch_norm_moments_merge_kernel<M>>(stream, merge_shape(p.C, segments.count), p, partial,
                                             mean, variance, row);
}

template <class M>
void batch_norm_fold(Stream stream, int segments, int C, double eps, const M* gamma, const M* beta,
                     const M* mean, const M* variance, int ld, M* scale, M* shift) {
  if (!stream.on_gpu())
    return batch_norm_fold<M>(segments, C, eps, gamma, beta, mean, variance, ld, scale, shift);
  launch<batch_norm_fold_kernel<M>>(stream, flat_shape(int64_t{segments} * C), segments, C, eps,
                                    gamma, beta, mean, variance, ld ? ld : C, scale, shift);
}

template <class T>
void batch_norm_apply(Stream stream, const BatchNormProblem& problem, const T* x, Segments segments,
                      const Master<T>* scale, const Master<T>* shift, const T* residual, T* y,
                      BatchNormVariant variant) {
  using M = Master<T>;
  if (!stream.on_gpu()) return batch_norm_apply<T>(problem, x, segments, scale, shift, residual, y);
  const BatchNormPixels p = pixels_of("batch_norm_apply", problem, segments);
  const M floor = problem.relu ? M(0) : -std::numeric_limits<M>::infinity();
  if (variant == BatchNormVariant::naive) {
    LaunchShape shape = flat_shape(most_images(segments) * p.image * p.C);
    shape.grid.y = static_cast<unsigned>(segments.count);
    launch<batch_norm_apply_naive_kernel<T>>(stream, shape, p, x, scale, shift, residual, y, floor);
    return;
  }
  const bool packs =
      packs_fit(x, p.ldx, p.C) && packs_fit(residual, p.ldy, p.C) && packs_fit(y, p.ldy, p.C);
  dispatch_width<T>(packs, [&]<int V>() {
    launch<batch_norm_apply_kernel<T, V>>(stream, unit_shape(p, segments, V), p, x, scale, shift,
                                          residual, y, floor);
  });
}

template <class T>
void batch_norm_backward(Stream stream, const BatchNormProblem& problem,
                         const BatchNormBackward<T>& args, std::span<std::byte> workspace,
                         BatchNormVariant variant) {
  using M = Master<T>;
  if (!stream.on_gpu()) return batch_norm_backward<T>(problem, args, workspace);
  const Segments segments = args.segments;
  const BatchNormPixels p = pixels_of("batch_norm_backward", problem, segments);
  WorkspaceLayout memory("batch_norm_backward", workspace);
  const BackwardTables<M> tables(memory, problem, segments.count);
  const int64_t ld = args.ld ? args.ld : p.C;
  batch_norm_fold(stream, segments.count, p.C, problem.eps, args.gamma, args.beta, args.mean,
                  args.variance, static_cast<int>(ld), tables.scale, tables.shift);

  const bool batch = problem.batch_statistics;
  const BatchNormGradients<T> g{
      .dy = args.dy,
      .x = args.x,
      .y = args.y,
      .scale = tables.scale,
      .shift = tables.shift,
      .mean = args.mean,
      .variance = args.variance,
      .ld = ld,
      .b = batch ? tables.b : nullptr,
      .c = batch ? tables.c : nullptr,
      .dx = args.dx,
      .dresidual = args.dresidual,
      .dx_mode = args.dx ? args.dx_mode : GradMode::ignore,
      .dresidual_mode = args.dresidual ? args.dresidual_mode : GradMode::ignore};
  const bool parameters = args.parameter_mode != GradMode::ignore && (args.dgamma || args.dbeta);
  M* const dgamma = parameters ? args.dgamma : nullptr;
  M* const dbeta = parameters ? args.dbeta : nullptr;
  const bool accumulate = args.parameter_mode == GradMode::accumulate;
  const bool inputs = g.dx_mode != GradMode::ignore || g.dresidual_mode != GradMode::ignore;
  const ReluMask mask = relu_mask(problem, args.y != nullptr);

  dispatch_mask(mask, [&]<ReluMask kMask>() {
    if (variant == BatchNormVariant::naive) {
      launch<batch_norm_backward_naive_kernel<T, kMask>>(
          stream, flat_shape(p.C), p, g, segments.count, problem.eps, dgamma, dbeta, accumulate);
      return;
    }
    const bool packs = packs_fit(g.dy, p.ldy, p.C) && packs_fit(g.x, p.ldx, p.C) &&
                       packs_fit(g.y, p.ldy, p.C) && packs_fit(g.dx, p.ldx, p.C) &&
                       packs_fit(g.dresidual, p.ldy, p.C);
    dispatch_width<T>(packs, [&]<int V>() {
      const LaunchShape shape = unit_shape(p, segments, V);
      if (batch || parameters) {
        launch<batch_norm_sums_units_kernel<T, V, kMask>>(stream, shape, p, g, tables.partial);
        launch<batch_norm_sums_merge_kernel<T>>(stream, merge_shape(p.C, 1), p, g, segments.count,
                                                problem.eps, tables.partial, dgamma, dbeta,
                                                accumulate);
      }
      if (inputs) launch<batch_norm_dx_kernel<T, V, kMask>>(stream, shape, p, g);
    });
  });
}

template <class M>
void batch_norm_update_running(Stream stream, const BatchNormRunning<M>& args) {
  if (!stream.on_gpu()) return batch_norm_update_running<M>(args);
  launch<batch_norm_update_running_kernel<M>>(stream, flat_shape(args.columns), args);
}

#define MONO_INSTANTIATE_MASTER(M)                                                                \
  template void batch_norm_fold(Stream, int, int, double, const M*, const M*, const M*, const M*, \
                                int, M*, M*);                                                     \
  template void batch_norm_update_running(Stream, const BatchNormRunning<M>&);
MONO_INSTANTIATE_MASTER(float)
MONO_INSTANTIATE_MASTER(double)
#define MONO_INSTANTIATE(T)                                                                       \
  template void batch_norm_moments(Stream, const BatchNormProblem&, const T*, Segments,           \
                                   Master<T>*, Master<T>*, int, std::span<std::byte>,             \
                                   BatchNormVariant);                                             \
  template void batch_norm_apply(Stream, const BatchNormProblem&, const T*, Segments,             \
                                 const Master<T>*, const Master<T>*, const T*, T*,                \
                                 BatchNormVariant);                                               \
  template void batch_norm_backward(Stream, const BatchNormProblem&, const BatchNormBackward<T>&, \
                                    std::span<std::byte>, BatchNormVariant);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
