// The dense block, composed of convolutions with prologues and epilogues. Everything per pixel
// happens inside them; what is here are tables of (segments, channels).
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
#include <cmath>
#include <type_traits>

#include "kernels/base/pixel_units.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/workspace.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/conv2d/conv2d_rows.h"

namespace mono {
namespace {

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

// A (segments, C) table of statistics at a row pitch.
template <class M>
struct Statistics {
  const M *mean, *variance;
  int ld;
};
template <class T, class Args>
Statistics<Master<T>> statistics1(const DenseBlockProblem& p, const Args& args, int layer) {
  const DenseBlockLayer<T>& l = args.layers[layer];
  if (p.batch_statistics) return {args.mean, args.variance, p.C_total()};
  return {l.mean1, l.variance1, p.C_in(layer)};
}

// Parameter gradients of a batch norm from the sums of a dgrad's epilogue: segments in order, in
// double.
template <class M>
void parameter_gradients(const DenseBlockProblem& p, Segments segments, int C,
                         const Statistics<M>& statistics, const M* sum_dz, const M* sum_dzx,
                         GradMode mode, M* dgamma, M* dbeta) {
  if (mode == GradMode::ignore) return;
  for (int c = 0; c < C; ++c) {
    double gamma = 0, beta = 0;
    for (int s = 0; s < segments.count; ++s) {
      const double variance = statistics.variance[int64_t{s} * statistics.ld + c];
      gamma += sum_dzx[int64_t{s} * C + c] / std::sqrt(variance + p.eps);
      beta += sum_dz[int64_t{s} * C + c];
    }
    const bool add = mode == GradMode::accumulate;
    if (dgamma) dgamma[c] = static_cast<M>(gamma + (add ? dgamma[c] : M(0)));
    if (dbeta) dbeta[c] = static_cast<M>(beta + (add ? dbeta[c] : M(0)));
  }
}

template <class T>
class Backward {
  using M = Master<T>;

 public:
  Backward(ConvVariant variant, const DenseBlockProblem& problem, const DenseBlockBackward<T>& args,
           WorkspaceLayout& workspace)
      : variant_(variant),
        p_(problem),
        args_(args),
        segments_(args.segments),
        buffers_(problem, args.segments.count, workspace),
        scratch_(workspace.rest()) {}

  void run() {
    const int64_t deferred = int64_t{segments_.count} * p_.C_total();
    std::fill_n(buffers_.first, deferred, 0.0);
    std::fill_n(buffers_.second, deferred, 0.0);
    for (int layer = p_.layers - 1; layer >= 0; --layer) {
      const Statistics<M> bn1 = statistics1<T>(p_, args_, layer);
      const Statistics<M> bn2 = {args_.layers[layer].mean2, args_.layers[layer].variance2,
                                 p_.bottleneck};
      fold(layer, bn1, bn2);
      conv2(layer, bn2);
      conv1(layer, bn1, bn2);
      if (args_.layer_done) args_.layer_done(args_.layer_done_context, layer);
    }
    finish_input();
  }

 private:
  double pixels(int s) const {
    return static_cast<double>(segments_.end(s) - segments_.begin(s)) * p_.H * p_.W;
  }

  void fold(int layer, const Statistics<M>& bn1, const Statistics<M>& bn2) {
    const DenseBlockLayer<T>& l = args_.layers[layer];
    batch_norm_fold(segments_.count, p_.C_in(layer), p_.eps, l.gamma1, l.beta1, bn1.mean,
                    bn1.variance, bn1.ld, buffers_.scale1, buffers_.shift1);
    batch_norm_fold(segments_.count, p_.bottleneck, p_.eps, l.gamma2, l.beta2, bn2.mean,
                    bn2.variance, bn2.ld, buffers_.scale2, buffers_.shift2);
  }

  // u and v of channels [begin, begin + C) of X into buffers b and c, (segments, C).
  void deferred_terms(int begin, int C) {
    for (int s = 0; s < segments_.count; ++s)
      for (int c = 0; c < C; ++c) {
        const int64_t at = int64_t{s} * p_.C_total() + begin + c;
        const double u = -buffers_.second[at] / std::sqrt(args_.variance[at] + p_.eps);
        buffers_.b[int64_t{s} * C + c] = static_cast<M>(u);
        buffers_.c[int64_t{s} * C + c] = static_cast<M>(-buffers_.first[at] - u * args_.mean[at]);
      }
  }

  void conv2(int layer, const Statistics<M>& bn2) {
    const DenseBlockLayer<T>& l = args_.layers[layer];
    const DenseBlockGrads<T>& grads = args_.grads[layer];
    const int slice = p_.C_in(layer);
    const ConvProblem conv = conv2_of(p_);
    const bool affine =
        p_.batch_statistics && layer + 1 < p_.layers;  // the last slice has no reader
    if (affine) deferred_terms(slice, p_.growth);
    conv2d_dgrad<T, M>(variant_, conv,
                       {.dy = args_.D + slice,
                        .y = args_.X + slice,
                        .b = affine ? buffers_.b : nullptr,
                        .c = affine ? buffers_.c : nullptr,
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
      conv2d_wgrad<T>(variant_, conv,
                      {.x = l.y1,
                       .prologue = {buffers_.scale2, buffers_.shift2},
                       .g = buffers_.g2,
                       .ldg = p_.growth,
                       .dw = grads.dw2,
                       .mode = args_.grad_mode,
                       .segments = segments_},
                      scratch_);
    parameter_gradients(p_, segments_, p_.bottleneck, bn2, buffers_.sum_dz, buffers_.sum_dzx,
                        args_.grad_mode, grads.dgamma2, grads.dbeta2);
  }

  // The coefficients of bn2's backward: g1 = scale2 * dz2 + (b * y1 + c).
  void bn2_coefficients(const Statistics<M>& bn2) {
    for (int s = 0; s < segments_.count; ++s)
      for (int k = 0; k < p_.bottleneck; ++k) {
        const int64_t at = int64_t{s} * p_.bottleneck + k;
        const double scale = buffers_.scale2[at] / pixels(s);
        const double b = -scale * buffers_.sum_dzx[at] / (bn2.variance[at] + p_.eps);
        buffers_.b[at] = static_cast<M>(b);
        buffers_.c[at] = static_cast<M>(-scale * buffers_.sum_dz[at] - b * bn2.mean[at]);
      }
  }

  void conv1(int layer, const Statistics<M>& bn1, const Statistics<M>& bn2) {
    const DenseBlockLayer<T>& l = args_.layers[layer];
    const DenseBlockGrads<T>& grads = args_.grads[layer];
    const int C = p_.C_in(layer), C_total = p_.C_total();
    const ConvProblem conv = conv1_of(p_, layer);
    if (p_.batch_statistics) bn2_coefficients(bn2);
    conv2d_dgrad<T, M>(variant_, conv,
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
      conv2d_wgrad<T>(variant_, conv,
                      {.x = args_.X,
                       .prologue = {buffers_.scale1, buffers_.shift1},
                       .g = buffers_.g1,
                       .ldg = p_.bottleneck,
                       .dw = grads.dw1,
                       .mode = args_.grad_mode,
                       .segments = segments_},
                      scratch_);
    parameter_gradients(p_, segments_, C, bn1, buffers_.sum_dz, buffers_.sum_dzx, args_.grad_mode,
                        grads.dgamma1, grads.dbeta1);
    if (!p_.batch_statistics) return;
    for (int s = 0; s < segments_.count; ++s)
      for (int c = 0; c < C; ++c) {
        const int64_t from = int64_t{s} * C + c, to = int64_t{s} * C_total + c;
        const double scale = buffers_.scale1[from] / pixels(s);
        buffers_.first[to] += scale * buffers_.sum_dz[from];
        buffers_.second[to] +=
            scale * buffers_.sum_dzx[from] / std::sqrt(args_.variance[to] + p_.eps);
      }
  }

  // The deferred terms of the block's input: D[:, :C0] += u * x + v.
  void finish_input() {
    if (!p_.batch_statistics) return;
    const int C_total = p_.C_total();
    deferred_terms(0, p_.C0);
    const PixelUnits units(segments_, int64_t{p_.H} * p_.W, p_.C0);
    parallel_for(units.count(), [&](int64_t index, int) {
      const PixelUnit unit = units.at(index);
      const int64_t table = int64_t{unit.segment} * p_.C0;
      M* D = args_.D + unit.begin * C_total;
      gradient_rows<T, M, M>({.dy = D,
                              .lddy = C_total,
                              .y = args_.X + unit.begin * C_total,
                              .ldy = C_total,
                              .b = buffers_.b + table,
                              .c = buffers_.c + table,
                              .g = D,
                              .ldg = C_total,
                              .K = p_.C0},
                             unit.end - unit.begin);
    });
  }

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

bool dense_block_supports(ConvVariant variant, const DenseBlockProblem& problem, DType dtype) {
  bool all = true;
  for_convolutions(problem, [&](const ConvProblem& conv) {
    for (ConvPass pass : kPasses)
      all = all && conv2d_supports(Device::cpu, variant, pass, conv, dtype);
  });
  return all;
}

ConvVariant dense_block_choose(const DenseBlockProblem& problem, DType dtype) {
  using enum ConvVariant;
  std::array<double, kConvVariants>
      picked{};  // FLOPs for which the convolutions' own table picks each variant
  for_convolutions(problem, [&](const ConvProblem& conv) {
    for (ConvPass pass : kPasses)
      picked[static_cast<size_t>(conv2d_choose(Device::cpu, pass, conv, dtype))] += conv.flops();
  });
  const bool prefers_own =
      picked[static_cast<size_t>(implicit_gemm)] > picked[static_cast<size_t>(onednn)];
  if (prefers_own && dense_block_supports(implicit_gemm, problem, dtype)) return implicit_gemm;
  return dense_block_supports(onednn, problem, dtype) ? onednn : reference;
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
void dense_block_forward(ConvVariant variant, const DenseBlockProblem& problem,
                         const DenseBlockForward<T>& args, std::span<std::byte> workspace) {
  using M = Master<T>;
  const DenseBlockProblem& p = problem;
  check("dense_block_forward", p, args.segments, args.layers, args.X, args.mean && args.variance);
  const int segments = args.segments.count, C_total = p.C_total();
  WorkspaceLayout memory("dense_block_forward", workspace);
  const ForwardTables<M> tables(p, segments, memory);
  for (int layer = 0; layer < p.layers; ++layer) {
    const DenseBlockLayer<T>& l = args.layers[layer];
    const Statistics<M> bn1 = statistics1<T>(p, args, layer);
    batch_norm_fold(segments, p.C_in(layer), p.eps, l.gamma1, l.beta1, bn1.mean, bn1.variance,
                    bn1.ld, tables.scale1, tables.shift1);
    const MomentsOut<T> moments1{l.mean2, l.variance2, p.bottleneck};
    conv2d_fprop<T>(variant, conv1_of(p, layer),
                    {.x = args.X,
                     .w = l.w1,
                     .y = l.y1,
                     .prologue = {tables.scale1, tables.shift1},
                     .moments = p.batch_statistics ? moments1 : MomentsOut<T>{},
                     .segments = args.segments},
                    memory.rest());

    batch_norm_fold<M>(segments, p.bottleneck, p.eps, l.gamma2, l.beta2, l.mean2, l.variance2, 0,
                       tables.scale2, tables.shift2);
    const int slice = p.C_in(layer);
    const MomentsOut<T> moments2{args.mean + slice, args.variance + slice, C_total};
    conv2d_fprop<T>(variant, conv2_of(p),
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
void dense_block_backward(ConvVariant variant, const DenseBlockProblem& problem,
                          const DenseBlockBackward<T>& args, std::span<std::byte> workspace) {
  check("dense_block_backward", problem, args.segments, args.layers, args.X && args.D,
        args.mean && args.variance);
  MONO_CHECK(static_cast<int>(args.grads.size()) == problem.layers,
             "dense_block_backward: gradients of {} layers for {}", args.grads.size(),
             problem.layers);
  WorkspaceLayout memory("dense_block_backward", workspace);
  Backward<T>(variant, problem, args, memory).run();
}

#define MONO_INSTANTIATE(T)                                                             \
  template void dense_block_forward(ConvVariant, const DenseBlockProblem&,              \
                                    const DenseBlockForward<T>&, std::span<std::byte>); \
  template void dense_block_backward(ConvVariant, const DenseBlockProblem&,             \
                                     const DenseBlockBackward<T>&, std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
