// Convolution, variant `reference`: the definition, for every type.
//
// Each pass is a loop over rows of the image and the filter's taps around one small matrix product
// (gemm_add) of pixels by channels, on operands widened to Master<T> and zero-padded in scratch:
//
//   fprop   y[p,:,k]  += z[p*stride+r, :, (s,c)]   w[r,(s,c),k]     pixels x K, inner s,c
//   dgrad   dz[h,:,c] += g[(h+pad-r)/stride, :, k]  w[r,s,k,c]       pixels x C, inner k
//   wgrad   dw[r,s,c,k] += z[.., c]^T g[.., k]                       C x K, inner pixels
//
// Work units are rows of one image (fprop, dgrad) or blocks of C x K (wgrad): fixed by the problem,
// so that any number of threads gives the same bits. Traffic: x is widened once per row block and,
// in wgrad, once per block of 64 output channels; nothing here is meant to be near the bound.
#include <algorithm>
#include <cstring>

#include "kernels/base/thread_pool.h"
#include "kernels/conv2d/conv2d_rows.h"
#include "kernels/conv2d/conv2d_variants.h"
#include "kernels/matmul/gemm_tile.h"

namespace mono {
namespace {

constexpr int64_t kBlockElements = 65536;  // of a unit's largest operand: it stays in cache

int rows_per_unit(int rows, int64_t elements_per_row) {
  return static_cast<int>(std::clamp<int64_t>(kBlockElements / elements_per_row, 1, rows));
}

bool is_pointwise(const ConvProblem& problem) {
  return problem.R == 1 && problem.S == 1 && problem.stride == 1 && problem.pad == 0;
}

// An image cut into units of whole rows.
struct RowUnits {
  int rows, per_unit, per_image;

  RowUnits(int rows_, int per_unit_)
      : rows(rows_), per_unit(per_unit_), per_image((rows_ + per_unit_ - 1) / per_unit_) {}
  int64_t count(int images) const { return int64_t{images} * per_image; }
  int image(int64_t unit) const { return static_cast<int>(unit / per_image); }
  int begin(int64_t unit) const { return static_cast<int>(unit % per_image) * per_unit; }
  int end(int64_t unit) const { return std::min(rows, begin(unit) + per_unit); }
  int64_t first_of(int image) const { return int64_t{image} * per_image; }
};

template <class T>
Master<T> rounded(Master<T> value) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<float>(bf16(value));
  else
    return value;
}

// One padded row of z: columns [-pad, W + pad) of input row h, all zero above and below the image.
template <class T>
void pack_padded_row(const ConvProblem& problem, const T* image, const Master<T>* scale,
                     const Master<T>* shift, int h, int c_begin, int channels, Master<T>* z) {
  const int64_t padding = int64_t{problem.pad} * channels;
  const int64_t inside = int64_t{problem.W} * channels;
  if (h < 0 || h >= problem.H) {
    std::fill_n(z, inside + 2 * padding, Master<T>(0));
    return;
  }
  std::fill_n(z, padding, Master<T>(0));
  pack_rows<T, Master<T>>({.x = image + int64_t{h} * problem.W * problem.ldx + c_begin,
                           .ldx = problem.ldx,
                           .scale = scale ? scale + c_begin : nullptr,
                           .shift = scale ? shift + c_begin : nullptr,
                           .z = z + padding,
                           .ldz = channels,
                           .C = channels},
                          problem.W);
  std::fill_n(z + padding + inside, padding, Master<T>(0));
}

// ---- fprop ------------------------------------------------------------------------------------

template <class T>
struct FpropScratch {
  using M = Master<T>;
  RowUnits units;
  int K_padded;
  int64_t z_size, y_size;
  M* filter;  // (R,S,C,K_padded)
  M* z;       // per worker: (rows in, W + 2 pad, C)
  M* y;       // per worker: (rows, Q, K_padded)
  MomentsUnits moments;

  FpropScratch(const ConvProblem& p, WorkspaceLayout& work)
      : units(p.P(), rows_per_unit(p.P(), std::max(int64_t{p.stride} * p.W * p.C,
                                                   int64_t{p.Q()} * gemm_padded(p.K)))),
        K_padded(gemm_padded(p.K)) {
    const int64_t rows_in = int64_t{units.per_unit - 1} * p.stride + p.R;
    z_size = rows_in * (p.W + 2 * p.pad) * p.C;
    y_size = int64_t{units.per_unit} * p.Q() * K_padded;
    filter = work.take<M>(int64_t{p.R} * p.S * p.C * K_padded);
    z = work.take<M>(num_threads() * z_size);
    y = work.take<M>(num_threads() * y_size);
    moments = MomentsUnits(work, units.count(p.N), p.K);
  }
};

template <class T>
void transpose_filter_rsck(const ConvProblem& p, const Master<T>* w, Master<T>* out, int K_padded) {
  parallel_for(int64_t{p.R} * p.S, [&](int64_t tap, int) {
    Master<T>* to = out + tap * p.C * K_padded;
    std::fill_n(to, int64_t{p.C} * K_padded, Master<T>(0));
    for (int k = 0; k < p.K; ++k) {
      const Master<T>* from = w + (int64_t{k} * p.R * p.S + tap) * p.C;
      for (int c = 0; c < p.C; ++c) to[int64_t{c} * K_padded + k] = rounded<T>(from[c]);
    }
  });
}

}  // namespace

template <class T>
void conv2d_reference_fprop(const ConvProblem& p, const ConvFprop<T>& args,
                            std::span<std::byte> workspace) {
  using M = Master<T>;
  WorkspaceLayout work("conv2d_fprop", workspace);
  const FpropScratch<T> scratch(p, work);
  const RowUnits& units = scratch.units;
  const int P = p.P(), Q = p.Q(), K_padded = scratch.K_padded;
  const int64_t z_row = int64_t{p.W + 2 * p.pad} * p.C;
  transpose_filter_rsck<T>(p, args.w, scratch.filter, K_padded);

  parallel_for(units.count(p.N), [&](int64_t unit, int worker) {
    const int n = units.image(unit), p_begin = units.begin(unit), p_end = units.end(unit);
    const int rows = p_end - p_begin;
    const int segment = segment_of(args.segments, n);
    const T* image = args.x + int64_t{n} * p.H * p.W * p.ldx;
    const M* scale = args.prologue.scale ? args.prologue.scale + int64_t{segment} * p.C : nullptr;
    const M* shift = scale ? args.prologue.shift + int64_t{segment} * p.C : nullptr;
    M* z = scratch.z + worker * scratch.z_size;
    M* y = scratch.y + worker * scratch.y_size;

    const int rows_in = (rows - 1) * p.stride + p.R;
    for (int i = 0; i < rows_in; ++i)
      pack_padded_row<T>(p, image, scale, shift, p_begin * p.stride - p.pad + i, 0, p.C,
                         z + i * z_row);
    std::fill_n(y, int64_t{rows} * Q * K_padded, M(0));
    if (is_pointwise(p))  // rows follow one another without a seam: one product
      gemm_add<M>(rows * Q, K_padded, p.C, z, p.C, 1, scratch.filter, K_padded, y, K_padded);
    else
      for (int row = 0; row < rows; ++row)
        for (int r = 0; r < p.R; ++r)  // the taps of a filter row are contiguous in z as in w
          gemm_add<M>(Q, K_padded, p.S * p.C, z + (row * p.stride + r) * z_row,
                      int64_t{p.stride} * p.C, 1,
                      scratch.filter + int64_t{r} * p.S * p.C * K_padded, K_padded,
                      y + int64_t{row} * Q * K_padded, K_padded);

    T* out = args.y + (int64_t{n} * P + p_begin) * Q * p.ldy;
    store_rows<T>(y, K_padded, p.K, int64_t{rows} * Q, out, p.ldy);
    if (args.moments.mean)
      moments_rows<T>(out, p.ldy, p.K, int64_t{rows} * Q, scratch.moments.mean + unit * p.K,
                      scratch.moments.m2 + unit * p.K);
  });

  if (!args.moments.mean) return;
  for (int s = 0; s < args.segments.count; ++s)
    merge_moments<T>(
        scratch.moments, units.first_of(args.segments.begin(s)),
        units.first_of(args.segments.end(s)),
        [&](int64_t unit) { return int64_t{units.end(unit) - units.begin(unit)} * Q; }, s,
        args.moments);
}

// ---- dgrad ------------------------------------------------------------------------------------

namespace {

int floor_div(int a, int b) {
  return a >= 0 ? a / b : -((-a + b - 1) / b);
}

// Output columns [q_begin, q_end) are those that any input column touches; g is zero-padded to
// them. Likewise rows for a unit of input rows.
struct GradientWindow {
  int begin, end;
  GradientWindow(int first, int last, int pad, int taps, int stride)
      : begin(-floor_div(-(first + pad - taps + 1), stride)),
        end(floor_div(last + pad, stride) + 1) {
    end = std::max(end, begin);
  }
  int size() const { return end - begin; }
};

template <class T>
struct DgradScratch {
  using M = Master<T>;
  RowUnits units;
  int C_padded;
  GradientWindow columns;
  int64_t g_size, dz_size;
  M* filter;  // (R,S,K,C_padded)
  M* g;       // per worker: (rows of the window, columns, K)
  M* dz;      // per worker: (rows, W, C_padded)
  SumUnits sums;

  DgradScratch(const ConvProblem& p, WorkspaceLayout& work)
      : units(p.H, rows_per_unit(p.H, std::max(int64_t{p.Q()} * p.K / p.stride,
                                               int64_t{p.W} * gemm_padded(p.C)))),
        C_padded(gemm_padded(p.C)),
        columns(0, p.W - 1, p.pad, p.S, p.stride) {
    const int64_t g_rows = (units.per_unit + p.R - 2) / p.stride + 1;
    g_size = g_rows * columns.size() * p.K;
    dz_size = int64_t{units.per_unit} * p.W * C_padded;
    filter = work.take<M>(int64_t{p.R} * p.S * p.K * C_padded);
    g = work.take<M>(num_threads() * g_size);
    dz = work.take<M>(num_threads() * dz_size);
    sums = SumUnits(work, units.count(p.N), p.C);
  }
};

template <class T>
void transpose_filter_rskc(const ConvProblem& p, const Master<T>* w, Master<T>* out, int C_padded) {
  parallel_for(int64_t{p.R} * p.S, [&](int64_t tap, int) {
    for (int k = 0; k < p.K; ++k) {
      const Master<T>* from = w + (int64_t{k} * p.R * p.S + tap) * p.C;
      Master<T>* to = out + (tap * p.K + k) * C_padded;
      for (int c = 0; c < p.C; ++c) to[c] = rounded<T>(from[c]);
      std::fill(to + p.C, to + C_padded, Master<T>(0));
    }
  });
}

// dz of input rows [h_begin, h_end) from the packed window of g.
template <class M>
void input_gradient(const ConvProblem& p, const M* filter, int C_padded, int h_begin, int h_end,
                    const GradientWindow& rows, const GradientWindow& columns, const M* g, M* dz) {
  std::fill_n(dz, int64_t{h_end - h_begin} * p.W * C_padded, M(0));
  if (is_pointwise(p)) {
    gemm_add<M>((h_end - h_begin) * p.W, C_padded, p.K, g, p.K, 1, filter, C_padded, dz, C_padded);
    return;
  }
  for (int h = h_begin; h < h_end; ++h)
    for (int r = 0; r < p.R; ++r) {
      if ((h + p.pad - r) % p.stride != 0) continue;
      const int row = (h + p.pad - r) / p.stride - rows.begin;
      // Input columns of equal remainder read consecutive pixels of g.
      for (int first = 0; first < std::min(p.stride, p.W); ++first)
        for (int s = 0; s < p.S; ++s) {
          if ((first + p.pad - s) % p.stride != 0) continue;
          const int column = (first + p.pad - s) / p.stride - columns.begin;
          gemm_add<M>((p.W - first + p.stride - 1) / p.stride, C_padded, p.K,
                      g + (int64_t{row} * columns.size() + column) * p.K, p.K, 1,
                      filter + (int64_t{r} * p.S + s) * p.K * C_padded, C_padded,
                      dz + (int64_t{h - h_begin} * p.W + first) * C_padded,
                      int64_t{p.stride} * C_padded);
        }
    }
}

}  // namespace

template <class T, class GradT>
void conv2d_reference_dgrad(const ConvProblem& p, const ConvDgrad<T, GradT>& args,
                            std::span<std::byte> workspace) {
  using M = Master<T>;
  WorkspaceLayout work("conv2d_dgrad", workspace);
  const DgradScratch<T> scratch(p, work);
  const RowUnits& units = scratch.units;
  const GradientWindow& columns = scratch.columns;
  const int P = p.P(), Q = p.Q(), C_padded = scratch.C_padded;
  transpose_filter_rskc<T>(p, args.w, scratch.filter, C_padded);

  // g_out first, in a pass of its own: it may alias dy, and units of rows overlap in g.
  if (args.g_out)
    parallel_for(int64_t{p.N} * P, [&](int64_t row, int) {
      const int segment = segment_of(args.segments, static_cast<int>(row / P));
      gradient_rows(gradient_of(p, args, row * Q, segment, args.g_out + row * Q * p.K), Q);
    });

  parallel_for(units.count(p.N), [&](int64_t unit, int worker) {
    const int n = units.image(unit), h_begin = units.begin(unit), h_end = units.end(unit);
    const int segment = segment_of(args.segments, n);
    M* g = scratch.g + worker * scratch.g_size;
    M* dz = scratch.dz + worker * scratch.dz_size;

    const GradientWindow rows(h_begin, h_end - 1, p.pad, p.R, p.stride);
    std::fill_n(g, int64_t{rows.size()} * columns.size() * p.K, M(0));
    const int q_begin = std::max(columns.begin, 0), q_end = std::min(columns.end, Q);
    for (int row = std::max(rows.begin, 0); row < std::min(rows.end, P) && q_begin < q_end; ++row) {
      M* to = g + (int64_t{row - rows.begin} * columns.size() + q_begin - columns.begin) * p.K;
      const int64_t pixel = (int64_t{n} * P + row) * Q + q_begin;
      if (args.g_out)
        pack_rows<T, M>({.x = args.g_out + pixel * p.K, .ldx = p.K, .z = to, .ldz = p.K, .C = p.K},
                        q_end - q_begin);
      else
        gradient_rows(gradient_of(p, args, pixel, segment, to), q_end - q_begin);
    }
    input_gradient<M>(p, scratch.filter, C_padded, h_begin, h_end, rows, columns, g, dz);

    const int64_t pixel = (int64_t{n} * p.H + h_begin) * p.W;
    store_input_gradient(p, args, scratch.sums, unit, segment, pixel,
                         int64_t{h_end - h_begin} * p.W, dz, C_padded);
  });
  merge_sums(args, scratch.sums, [&](int s) { return units.first_of(args.segments.offsets[s]); });
}

// ---- wgrad ------------------------------------------------------------------------------------

namespace {

constexpr int kFilterBlockC = 48, kFilterBlockK = 64, kPixelsPerProduct = 128;

template <class T>
struct WgradScratch {
  using M = Master<T>;
  int C_block, K_block, C_blocks, K_blocks;
  int rows;   // output rows per product
  int width;  // pixels from one output row to the next in the product
  int64_t z_size, g_size, dw_size;
  M* z;   // per worker: (rows in, W + 2 pad, C_block)
  M* g;   // per worker: (rows, width, K_block), zero beyond Q
  M* dw;  // per worker: (R,S,C_block,K_block)

  WgradScratch(const ConvProblem& p, WorkspaceLayout& work)
      : C_block(std::min(kFilterBlockC, p.C)),
        K_block(std::min(kFilterBlockK, gemm_padded(p.K))),
        C_blocks((p.C + C_block - 1) / C_block),
        K_blocks((p.K + K_block - 1) / K_block) {
    // With stride 1, g is padded to z's width, so that several short rows make one product.
    const bool merged = p.stride == 1;
    width = merged ? p.W + 2 * p.pad : p.Q();
    rows = merged ? std::clamp(kPixelsPerProduct / width, 1, p.P()) : 1;
    const int64_t rows_in = int64_t{rows - 1} * p.stride + p.R;
    z_size = rows_in * (p.W + 2 * p.pad) * C_block;
    g_size = int64_t{rows} * width * K_block;
    dw_size = int64_t{p.R} * p.S * C_block * K_block;
    z = work.take<M>(num_threads() * z_size);
    g = work.take<M>(num_threads() * g_size);
    dw = work.take<M>(num_threads() * dw_size);
  }
};

}  // namespace

template <class T>
void conv2d_reference_wgrad(const ConvProblem& p, const ConvWgrad<T>& args,
                            std::span<std::byte> workspace) {
  using M = Master<T>;
  WorkspaceLayout work("conv2d_wgrad", workspace);
  const WgradScratch<T> scratch(p, work);
  const int P = p.P(), Q = p.Q(), C_block = scratch.C_block, K_block = scratch.K_block;
  const int z_width = p.W + 2 * p.pad;

  parallel_for(int64_t{scratch.C_blocks} * scratch.K_blocks, [&](int64_t unit, int worker) {
    const int c_begin = static_cast<int>(unit / scratch.K_blocks) * C_block;
    const int k_begin = static_cast<int>(unit % scratch.K_blocks) * K_block;
    const int channels = std::min(C_block, p.C - c_begin);
    const int filters = std::min(K_block, p.K - k_begin);
    M* z = scratch.z + worker * scratch.z_size;
    M* g = scratch.g + worker * scratch.g_size;
    M* dw = scratch.dw + worker * scratch.dw_size;
    std::fill_n(z, scratch.z_size, M(0));
    std::fill_n(g, scratch.g_size, M(0));
    std::fill_n(dw, scratch.dw_size, M(0));

    for (int n = 0; n < p.N; ++n) {
      const int64_t table = int64_t{segment_of(args.segments, n)} * p.C;
      const M* scale = args.prologue.scale ? args.prologue.scale + table : nullptr;
      const M* shift = scale ? args.prologue.shift + table : nullptr;
      const T* image = args.x + int64_t{n} * p.H * p.W * p.ldx;
      for (int p_begin = 0; p_begin < P; p_begin += scratch.rows) {
        const int rows = std::min(scratch.rows, P - p_begin);
        const int rows_in = (rows - 1) * p.stride + p.R;
        for (int i = 0; i < rows_in; ++i)
          pack_padded_row<T>(p, image, scale, shift, p_begin * p.stride - p.pad + i, c_begin,
                             channels, z + int64_t{i} * z_width * channels);
        for (int row = 0; row < rows; ++row)
          pack_rows<T, M>({.x = args.g + (int64_t{n} * P + p_begin + row) * Q * args.ldg + k_begin,
                           .ldx = args.ldg,
                           .z = g + int64_t{row} * scratch.width * K_block,
                           .ldz = K_block,
                           .C = filters},
                          Q);
        // The last row ends at Q, so the product never reads past the packed rows of z.
        const int pixels = (rows - 1) * scratch.width + Q;
        for (int r = 0; r < p.R; ++r)
          for (int s = 0; s < p.S; ++s)
            gemm_add<M>(channels, K_block, pixels, z + (int64_t{r} * z_width + s) * channels, 1,
                        int64_t{p.stride} * channels, g, K_block,
                        dw + (int64_t{r} * p.S + s) * C_block * K_block, K_block);
      }
    }

    for (int k = 0; k < filters; ++k)
      for (int tap = 0; tap < p.R * p.S; ++tap) {
        M* out = args.dw + (int64_t{k_begin + k} * p.R * p.S + tap) * p.C + c_begin;
        const M* sum = dw + int64_t{tap} * C_block * K_block + k;
        if (args.mode == GradMode::accumulate)
          for (int c = 0; c < channels; ++c) out[c] += sum[int64_t{c} * K_block];
        else
          for (int c = 0; c < channels; ++c) out[c] = sum[int64_t{c} * K_block];
      }
  });
}

// ---- scratch and instances --------------------------------------------------------------------

size_t conv2d_reference_workspace(ConvPass pass, const ConvProblem& problem, DType dtype, int) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    if (pass == ConvPass::fprop) FpropScratch<T>(problem, work);
    if (pass == ConvPass::dgrad) DgradScratch<T>(problem, work);
    if (pass == ConvPass::wgrad) WgradScratch<T>(problem, work);
    return work.used();
  });
}

#define MONO_INSTANCE(T)                                                        \
  template void conv2d_reference_fprop(const ConvProblem&, const ConvFprop<T>&, \
                                       std::span<std::byte>);                   \
  template void conv2d_reference_wgrad(const ConvProblem&, const ConvWgrad<T>&, \
                                       std::span<std::byte>);
#define MONO_DGRAD_INSTANCE(T, GradT)                                                  \
  template void conv2d_reference_dgrad(const ConvProblem&, const ConvDgrad<T, GradT>&, \
                                       std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_INSTANCE(double)
MONO_DGRAD_INSTANCE(float, float)
MONO_DGRAD_INSTANCE(bf16, bf16)
MONO_DGRAD_INSTANCE(bf16, float)
MONO_DGRAD_INSTANCE(double, double)

}  // namespace mono
