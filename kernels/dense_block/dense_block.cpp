// The dense block, composed of convolutions with prologues and epilogues, on either device.
// Everything per pixel happens inside them; between them are steps on tables of (segments,
// channels), dense_block_tables.h. On a GPU the whole of it is only enqueued.
//
// Backward of layer l, with D the gradient buffer, r = 1 / sigma, n the pixels of a segment, and
// (A, B) the deferred numbers of each channel of X (dX = D - A - B * xhat):
//
//   g2  = D_slice + u * X_slice + v         u = -B r,  v = -A - u mean       3x3 dgrad's prologue
//   dz2 = mask2 * conv3x3^T(g2, w2)         sums s1 = sum dz2, s2 = sum dz2 * (y1 - mean2)
//   dw2 = wgrad(relu(bn2(y1)), g2)
//   g1  = scale2 * (dz2 - s1/n - (y1 - mean2) r2^2 s2/n)                     1x1 dgrad's prologue
//   dz1 = mask1 * conv1x1^T(g1, w1)         sums t1, t2 likewise;  D += scale1 * dz1
//   dw1 = wgrad(relu(bn1(X)), g1)
//   A  += scale1 * t1/n,  B += scale1 * r1 * t2/n
//
// prototypes of the algebra: xhat = (x - mean) r, so the terms that bn1's backward subtracts from
// every input channel are affine in x, and those of all later layers add up before they are
// applied.
#include "kernels/dense_block/dense_block.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <type_traits>

#include "kernels/base/gpu.h"
#include "kernels/base/pixel_units.h"
#include "kernels/base/workspace.h"
#include "kernels/dense_block/dense_block_tables.h"

namespace mono {
namespace {

using namespace dense_block_tables;

ConvProblem conv1_of(const DenseBlockProblem& p, int layer) {
  return {.N = p.N,
          .H = p.H,
          .W = p.W,
          .C = p.C_in(layer),
          .K = p.bottleneck,
          .R = 1,
          .S = 1,
          .ldx = p.C_total(),
          .ldy = p.bottleneck};
}

ConvProblem conv2_of(const DenseBlockProblem& p) {
  return {.N = p.N,
          .H = p.H,
          .W = p.W,
          .C = p.bottleneck,
          .K = p.growth,
          .R = 3,
          .S = 3,
          .pad = 1,
          .ldx = p.bottleneck,
          .ldy = p.C_total()};
}

// Calls f(convolution) for every convolution of the block.
template <class F>
void for_convolutions(const DenseBlockProblem& p, F&& f) {
  for (int layer = 0; layer < p.layers; ++layer) {
    f(conv1_of(p, layer));
    f(conv2_of(p));
  }
}

constexpr std::array<ConvPass, 3> kPasses = {ConvPass::fprop, ConvPass::dgrad, ConvPass::wgrad};

size_t conv_workspace(ConvVariant variant, const DenseBlockProblem& p, DType dtype, int segments,
                      bool backward) {
  size_t most = 0;
  for_convolutions(p, [&](const ConvProblem& conv) {
    for (ConvPass pass : kPasses)
      if ((pass != ConvPass::fprop) == backward)
        most = std::max(most, conv2d_workspace_bytes(variant, pass, conv, dtype, segments));
  });
  return most;
}

template <class M>
struct ForwardTables {
  M *scale1, *shift1, *scale2, *shift2;

  ForwardTables(const DenseBlockProblem& p, int segments, WorkspaceLayout& workspace) {
    const int64_t table1 = int64_t{segments} * p.C_in(p.layers - 1);
    const int64_t table2 = int64_t{segments} * p.bottleneck;
    scale1 = workspace.take<M>(table1);
    shift1 = workspace.take<M>(table1);
    scale2 = workspace.take<M>(table2);
    shift2 = workspace.take<M>(table2);
  }
};

template <class T>
struct BackwardBuffers : ForwardTables<Master<T>> {
  using M = Master<T>;
  M *b, *c;                // coefficients of a gradient prologue
  M *sum_dz, *sum_dzx;     // of a dgrad's epilogue
  double *first, *second;  // (segments, C_total): A and B, the deferred numbers
  M* dz2;                  // (N,H,W,B)
  T* g1;                   // (N,H,W,B)
  T* g2;                   // (N,H,W,g)

  BackwardBuffers(const DenseBlockProblem& p, int segments, WorkspaceLayout& workspace)
      : ForwardTables<M>(p, segments, workspace) {
    const int64_t widest = std::max({p.C_in(p.layers - 1), p.bottleneck, p.growth});
    const int64_t pixels = int64_t{p.N} * p.H * p.W;
    for (M** table : {&b, &c, &sum_dz, &sum_dzx}) *table = workspace.take<M>(segments * widest);
    first = workspace.take<double>(int64_t{segments} * p.C_total());
    second = workspace.take<double>(int64_t{segments} * p.C_total());
    dz2 = workspace.take<M>(pixels * p.bottleneck);
    if constexpr (std::is_same_v<T, M>) {
      g1 = dz2;  // dgrad's g_out may be its dy
      g2 = workspace.take<T>(pixels * p.growth);
    } else {
      g1 = g2 = workspace.take<T>(pixels * std::max(p.bottleneck, p.growth));  // g2 is spent first
    }
  }
};

template <class Layer>
void check(const char* operation, const DenseBlockProblem& p, Segments segments,
           std::span<const Layer> layers, bool operands, bool statistics) {
  MONO_CHECK(p.N >= 1 && p.H >= 1 && p.W >= 1 && p.C0 >= 1 && p.growth >= 1 && p.bottleneck >= 1 &&
                 p.layers >= 1 && static_cast<int>(layers.size()) == p.layers,
             "{}: n{} h{}w{} c{} growth {} bottleneck {} layers {}, of which {} were given",
             operation, p.N, p.H, p.W, p.C0, p.growth, p.bottleneck, p.layers, layers.size());
  MONO_CHECK(operands && (statistics || !p.batch_statistics), "{}: null operand", operation);
  for (const Layer& layer : layers)
    MONO_CHECK(layer.y1 && layer.mean2 && layer.variance2 &&
                   (p.batch_statistics || (layer.mean1 && layer.variance1)),
               "{}: layer {}: null operand", operation, &layer - layers.data());
  check_segments(operation, segments, p.N);
}

template <class T, class Args>
Statistics<Master<T>> statistics1(const DenseBlockProblem& p, const Args& args, int layer) {
  const DenseBlockLayer<T>& l = args.layers[layer];
  if (p.batch_statistics) return {args.mean, args.variance, p.C_total()};
  return {l.mean1, l.variance1, p.C_in(layer)};
}

template <class M>
Fold<M> fold_of(int C, double eps, const M* gamma, const M* beta, const Statistics<M>& statistics,
                M* scale, M* shift) {
  return {C, eps, gamma, beta, statistics, scale, shift};
}

template <class T>
class Backward {
  using M = Master<T>;

 public:
  Backward(Stream stream, ConvVariant variant, const DenseBlockProblem& problem,
           const DenseBlockBackward<T>& args, WorkspaceLayout& workspace)
      : stream_(stream),
        variant_(variant),
        p_(problem),
        args_(args),
        segments_(args.segments),
        buffers_(problem, args.segments.count, workspace),
        scratch_(workspace.rest()) {}

  void run() {
    const size_t bytes = sizeof(double) * segments_.count * p_.C_total();
    for (double* numbers : {buffers_.first, buffers_.second})
      stream_.on_gpu() ? gpu::fill(numbers, 0, bytes, stream_)
                       : static_cast<void>(std::memset(numbers, 0, bytes));
    for (int layer = p_.layers - 1; layer >= 0; --layer) {
      const Statistics<M> bn1 = statistics1<T>(p_, args_, layer);
      const Statistics<M> bn2 = {args_.layers[layer].mean2, args_.layers[layer].variance2,
                                 p_.bottleneck};
      start(layer, bn1, bn2);
      conv2(layer, bn2);
      conv1(layer, bn1);
      if (args_.layer_done) args_.layer_done(args_.layer_done_context, layer);
    }
    if (p_.batch_statistics) finish();
  }

 private:
  Deferred deferred() const { return {buffers_.first, buffers_.second, p_.C_total()}; }
  DeferredTerms<M> terms(int begin, int C) const {
    return {begin, C, p_.eps, deferred(), args_.mean, args_.variance, buffers_.b, buffers_.c};
  }
  SegmentPixels pixels() const {
    return {stream_.on_gpu() ? segments_.gpu_offsets : segments_.offsets, p_.H, p_.W};
  }
  // Whether a later layer has read the layer's slice, and so left deferred terms.
  bool is_read(int layer) const { return p_.batch_statistics && layer + 1 < p_.layers; }

  void start(int layer, const Statistics<M>& bn1, const Statistics<M>& bn2) {
    const DenseBlockLayer<T>& l = args_.layers[layer];
    const StartLayer<M> step{
        segments_.count,
        fold_of(p_.C_in(layer), p_.eps, l.gamma1, l.beta1, bn1, buffers_.scale1, buffers_.shift1),
        fold_of(p_.bottleneck, p_.eps, l.gamma2, l.beta2, bn2, buffers_.scale2, buffers_.shift2),
        terms(p_.C_in(layer), is_read(layer) ? p_.growth : 0)};
    for_each_element(stream_, step.elements(), step);
  }

  ParameterGradients<M> gradients(int C, const Statistics<M>& statistics, M* dgamma,
                                  M* dbeta) const {
    const bool wanted = args_.grad_mode != GradMode::ignore;
    return {segments_.count,
            C,
            p_.eps,
            statistics,
            buffers_.sum_dz,
            buffers_.sum_dzx,
            args_.grad_mode == GradMode::accumulate,
            wanted ? dgamma : nullptr,
            wanted ? dbeta : nullptr};
  }

  void conv2(int layer, const Statistics<M>& bn2) {
    const DenseBlockLayer<T>& l = args_.layers[layer];
    const DenseBlockGrads<T>& grads = args_.grads[layer];
    const int slice = p_.C_in(layer);
    const ConvProblem conv = conv2_of(p_);
    conv2d_dgrad<T, M>(stream_, variant_, conv,
                       {.dy = args_.D + slice,
                        .y = args_.X + slice,
                        .b = is_read(layer) ? buffers_.b : nullptr,
                        .c = is_read(layer) ? buffers_.c : nullptr,
                        .g_out = buffers_.g2,
                        .w = l.w2,
                        .mask = {buffers_.scale2, buffers_.shift2},
                        .x = l.y1,
                        .mean = bn2.mean,
                        .mean_ld = bn2.ld,
                        .sum_dz = buffers_.sum_dz,
                        .sum_dzx = buffers_.sum_dzx,
                        .dx = buffers_.dz2,
                        .segments = segments_},
                       scratch_);
    if (grads.dw2)
      conv2d_wgrad<T>(stream_, variant_, conv,
                      {.x = l.y1,
                       .prologue = {buffers_.scale2, buffers_.shift2},
                       .g = buffers_.g2,
                       .ldg = p_.growth,
                       .dw = grads.dw2,
                       .mode = args_.grad_mode,
                       .segments = segments_},
                      scratch_);
    const FinishNorm2<M> step{gradients(p_.bottleneck, bn2, grads.dgamma2, grads.dbeta2),
                              p_.batch_statistics,
                              pixels(),
                              buffers_.scale2,
                              buffers_.b,
                              buffers_.c};
    for_each_element(stream_, p_.bottleneck, step);
  }

  void conv1(int layer, const Statistics<M>& bn1) {
    const DenseBlockLayer<T>& l = args_.layers[layer];
    const DenseBlockGrads<T>& grads = args_.grads[layer];
    const int C = p_.C_in(layer);
    const ConvProblem conv = conv1_of(p_, layer);
    conv2d_dgrad<T, M>(stream_, variant_, conv,
                       {.dy = buffers_.dz2,
                        .y = l.y1,
                        .a = buffers_.scale2,
                        .b = p_.batch_statistics ? buffers_.b : nullptr,
                        .c = p_.batch_statistics ? buffers_.c : nullptr,
                        .g_out = buffers_.g1,
                        .w = l.w1,
                        .mask = {buffers_.scale1, buffers_.shift1},
                        .x = args_.X,
                        .mean = bn1.mean,
                        .mean_ld = bn1.ld,
                        .sum_dz = buffers_.sum_dz,
                        .sum_dzx = buffers_.sum_dzx,
                        .multiply = buffers_.scale1,
                        .dx = args_.D,
                        .mode = GradMode::accumulate,
                        .segments = segments_},
                       scratch_);
    if (grads.dw1)
      conv2d_wgrad<T>(stream_, variant_, conv,
                      {.x = args_.X,
                       .prologue = {buffers_.scale1, buffers_.shift1},
                       .g = buffers_.g1,
                       .ldg = p_.bottleneck,
                       .dw = grads.dw1,
                       .mode = args_.grad_mode,
                       .segments = segments_},
                      scratch_);
    const FinishNorm1<M> step{gradients(C, bn1, grads.dgamma1, grads.dbeta1), p_.batch_statistics,
                              pixels(), buffers_.scale1, deferred()};
    for_each_element(stream_, C, step);
  }

  // The deferred terms of the block's input: D[:, :C0] += u * x + v.
  void finish() {
    for_each_element(stream_, int64_t{segments_.count} * p_.C0, terms(0, p_.C0));
    finish_input<T>(stream_, {.C = p_.C0,
                              .ld = p_.C_total(),
                              .image_pixels = int64_t{p_.H} * p_.W,
                              .segments = segments_,
                              .b = buffers_.b,
                              .c = buffers_.c,
                              .x = args_.X,
                              .D = args_.D});
  }

  const Stream stream_;
  const ConvVariant variant_;
  const DenseBlockProblem& p_;
  const DenseBlockBackward<T>& args_;
  const Segments segments_;
  const BackwardBuffers<T> buffers_;
  const std::span<std::byte> scratch_;
};

}  // namespace

double DenseBlockProblem::flops() const {
  double sum = 0;
  for_convolutions(*this, [&](const ConvProblem& conv) { sum += conv.flops(); });
  return sum;
}

bool dense_block_supports(Device device, ConvVariant variant, const DenseBlockProblem& problem,
                          DType dtype) {
  bool all = true;
  for_convolutions(problem, [&](const ConvProblem& conv) {
    for (ConvPass pass : kPasses) all = all && conv2d_supports(device, variant, pass, conv, dtype);
  });
  return all;
}

ConvVariant dense_block_choose(Device device, const DenseBlockProblem& problem, DType dtype) {
  std::array<double, kConvVariants> flops{};  // for which the convolutions' own table picks each
  for_convolutions(problem, [&](const ConvProblem& conv) {
    for (ConvPass pass : kPasses)
      flops[static_cast<size_t>(conv2d_choose(device, pass, conv, dtype))] += conv.flops();
  });
  ConvVariant best = device == Device::cpu ? ConvVariant::reference : ConvVariant::naive;
  for (size_t v = 0; v < flops.size(); ++v)
    if (flops[v] > flops[static_cast<size_t>(best)] &&
        dense_block_supports(device, static_cast<ConvVariant>(v), problem, dtype))
      best = static_cast<ConvVariant>(v);
  return best;
}

size_t dense_block_workspace_bytes(ConvVariant variant, const DenseBlockProblem& problem,
                                   DType dtype, int segments, bool backward) {
  WorkspaceLayout workspace;
  dispatch_activation(dtype, [&]<class T>() {
    if (backward)
      BackwardBuffers<T>(problem, segments, workspace);
    else
      ForwardTables<Master<T>>(problem, segments, workspace);
  });
  return workspace.used() + conv_workspace(variant, problem, dtype, segments, backward);
}

template <class T>
void dense_block_forward(Stream stream, ConvVariant variant, const DenseBlockProblem& problem,
                         const DenseBlockForward<T>& args, std::span<std::byte> workspace) {
  using M = Master<T>;
  const DenseBlockProblem& p = problem;
  check("dense_block_forward", p, args.segments, args.layers, args.X, args.mean && args.variance);
  const int64_t segments = args.segments.count;
  WorkspaceLayout memory("dense_block_forward", workspace);
  const ForwardTables<M> tables(p, args.segments.count, memory);
  for (int layer = 0; layer < p.layers; ++layer) {
    const DenseBlockLayer<T>& l = args.layers[layer];
    for_each_element(stream, segments * p.C_in(layer),
                     fold_of(p.C_in(layer), p.eps, l.gamma1, l.beta1,
                             statistics1<T>(p, args, layer), tables.scale1, tables.shift1));
    const MomentsOut<T> moments1{l.mean2, l.variance2, p.bottleneck};
    conv2d_fprop<T>(stream, variant, conv1_of(p, layer),
                    {.x = args.X,
                     .w = l.w1,
                     .y = l.y1,
                     .prologue = {tables.scale1, tables.shift1},
                     .moments = p.batch_statistics ? moments1 : MomentsOut<T>{},
                     .segments = args.segments},
                    memory.rest());

    for_each_element(
        stream, segments * p.bottleneck,
        fold_of(p.bottleneck, p.eps, l.gamma2, l.beta2,
                Statistics<M>{l.mean2, l.variance2, p.bottleneck}, tables.scale2, tables.shift2));
    const int slice = p.C_in(layer);
    const MomentsOut<T> moments2{args.mean + slice, args.variance + slice, p.C_total()};
    conv2d_fprop<T>(stream, variant, conv2_of(p),
                    {.x = l.y1,
                     .w = l.w2,
                     .y = args.X + slice,
                     .prologue = {tables.scale2, tables.shift2},
                     .moments = p.batch_statistics ? moments2 : MomentsOut<T>{},
                     .segments = args.segments},
                    memory.rest());
  }
}

template <class T>
void dense_block_backward(Stream stream, ConvVariant variant, const DenseBlockProblem& problem,
                          const DenseBlockBackward<T>& args, std::span<std::byte> workspace) {
  check("dense_block_backward", problem, args.segments, args.layers, args.X && args.D,
        args.mean && args.variance);
  MONO_CHECK(static_cast<int>(args.grads.size()) == problem.layers,
             "dense_block_backward: gradients of {} layers for {}", args.grads.size(),
             problem.layers);
  WorkspaceLayout memory("dense_block_backward", workspace);
  Backward<T>(stream, variant, problem, args, memory).run();
}

#define MONO_INSTANTIATE(T)                                                             \
  template void dense_block_forward(Stream, ConvVariant, const DenseBlockProblem&,      \
                                    const DenseBlockForward<T>&, std::span<std::byte>); \
  template void dense_block_backward(Stream, ConvVariant, const DenseBlockProblem&,     \
                                     const DenseBlockBackward<T>&, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
