// Convolution on the GPU: which launches make up a pass, and with what tiles.
//
//   fprop   pack the filter; product with y and moments of each tile; merge the moments
//   dgrad   pack the filter, transposed; g to g_out, where it is not dy itself; product with the
//           masked dx and sums of each tile; merge the sums
//   wgrad   product of each unit of pixels; merge the units
#include <algorithm>

#include "kernels/conv2d/conv2d_cudnn.h"
#include "kernels/conv2d/conv2d_gpu.h"
#include "kernels/conv2d/conv2d_implicit_gemm_halo.cuh"
#include "kernels/conv2d/conv2d_launch.cuh"
#include "kernels/conv2d/conv2d_naive.cuh"
#include "kernels/conv2d/conv2d_smem_tiled.cuh"

#include "kernels/base/workspace.h"

namespace mono::conv2d_gpu {
namespace {

constexpr int ceil_div(int64_t a, int64_t b) {
  return static_cast<int>((a + b - 1) / b);
}
constexpr int round_up(int a, int b) {
  return (a + b - 1) / b * b;
}
// Rows and columns of a variant's tile of fprop and dgrad.
struct TileShape {
  int rows, columns;
};
constexpr int kMultiprocessors = 132;  // of an H100: what grids should fill

// implicit_gemm_mma: of the tiles with 128 rows, the one that reads and pads least, taking a tile
// to cost as much as columns + 32 (its columns, and reading the pixels again); 64 x 64 where those
// would leave half of the multiprocessors idle. Assumed, not measured.
TileShape mma_tile_shape(int64_t pixels, int columns) {
  int best = 0, least = 0;
  for (int width : {128, 96, 64, 48}) {
    const int cost = ceil_div(columns, width) * (width + 32);
    if (best == 0 || cost < least) best = width, least = cost;
  }
  const int64_t blocks = int64_t{ceil_div(pixels, 128)} * ceil_div(columns, best);
  return 2 * blocks >= kMultiprocessors ? TileShape{128, best} : TileShape{64, 64};
}

TileShape tile_shape(ConvVariant variant, const ConvProblem& p, ConvPass pass) {
  if (variant == ConvVariant::naive) return {kNaiveRows, kNaiveColumns};
  if (variant == ConvVariant::smem_tiled) return {SmemTile::kRows, SmemTile::kColumns};
  return pass == ConvPass::fprop ? mma_tile_shape(int64_t{p.N} * p.P() * p.Q(), p.K)
                                 : mma_tile_shape(int64_t{p.N} * p.H * p.W, p.C);
}

// wgrad: blocks that a unit of pixels takes, and its pixels: enough units for two blocks on every
// multiprocessor and no more, since each writes a dw of its own; but at least 256 pixels.
struct UnitShape {
  int blocks, column_tiles, pixels;
};
UnitShape unit_shape(ConvVariant variant, const ConvProblem& p, DType dtype) {
  constexpr int kLeastPixels = 256;
  UnitShape shape{};
  if (variant == ConvVariant::naive) {
    shape.blocks = ceil_div(int64_t{p.K} * p.R * p.S * p.C, kNaiveThreads);
  } else {
    const bool mma = variant != ConvVariant::smem_tiled;
    const int columns = p.R * p.S * round_up(p.C, dtype == DType::bf16 ? 8 : 4);
    shape.column_tiles = ceil_div(columns, mma ? MmaWgradTile::kColumns : SmemWgradTile::kColumns);
    shape.blocks =
        shape.column_tiles * ceil_div(p.K, mma ? MmaWgradTile::kRows : SmemWgradTile::kRows);
  }
  const int64_t pixels = int64_t{p.N} * p.P() * p.Q();
  const int wanted = ceil_div(pixels * shape.blocks, 2 * kMultiprocessors);
  shape.pixels = round_up(std::max(kLeastPixels, wanted), kLeastPixels);
  return shape;
}

// The class with most pixels of dgrad is the first; fprop has only one.
int most_image_pixels(const ConvProblem& p, ConvPass pass) {
  if (pass == ConvPass::fprop) return p.P() * p.Q();
  return ceil_div(p.H, p.stride) * ceil_div(p.W, p.stride);
}
int classes_of(const ConvProblem& p, ConvPass pass) {
  return pass == ConvPass::dgrad ? p.stride * p.stride : 1;
}
int tiles_of(const Segments& segments, int image_pixels, int tile_pixels) {
  int tiles = 0;
  for (int s = 0; s < segments.count; ++s)
    tiles += ceil_div(int64_t{segments.end(s) - segments.begin(s)} * image_pixels, tile_pixels);
  return tiles;
}
// The most that tiles_of may be for `segments` segments.
int64_t most_tiles(int N, int segments, int image_pixels, int tile_pixels) {
  return int64_t{N} * image_pixels / tile_pixels + segments;
}

// Kernels count the pixels of a batch in int.
void check_size(const ConvProblem& p) {
  constexpr int64_t kMost = int64_t{1} << 30;
  MONO_CHECK(int64_t{p.N} * p.H * p.W <= kMost && int64_t{p.N} * p.P() * p.Q() <= kMost,
             "conv2d {}: more than 2^30 pixels in a batch; use a smaller batch", p.to_string());
}

template <class T>
struct Scratch {
  T* filter = nullptr;
  float2* units = nullptr;  // (tiles, columns)
  float* partial = nullptr;
  int padded_depth = 0;

  Scratch(ConvVariant variant, ConvPass pass, const ConvProblem& p, int segments,
          WorkspaceLayout& work) {
    if (pass == ConvPass::wgrad) {
      const int64_t units =
          most_tiles(p.N, segments, p.P() * p.Q(), unit_shape(variant, p, kDTypeOf<T>).pixels);
      partial = work.take<float>(units * p.K * p.R * p.S * p.C);
      return;
    }
    const bool forward = pass == ConvPass::fprop;
    const int columns = forward ? p.K : p.C;
    padded_depth = round_up(forward ? p.C : p.K, kVector<T>);
    filter = work.take<T>(int64_t{columns} * p.R * p.S * padded_depth);
    const int rows = tile_shape(variant, p, pass).rows;
    units = work.take<float2>(most_tiles(p.N, segments, most_image_pixels(p, pass), rows) *
                              classes_of(p, pass) * columns);
  }
};

template <class T>
void pack_filter(Stream stream, const ConvProblem& p, const float* w, bool transposed,
                 const Scratch<T>& scratch) {
  const int C = transposed ? p.C : scratch.padded_depth;
  const int K = transposed ? scratch.padded_depth : p.K;
  launch<pack_filter_kernel<T>>(
      stream, {dim3(blocks_for(C, 32), blocks_for(K, 32), p.R * p.S), dim3(32, 8)}, w, p.K,
      p.R * p.S, p.C, transposed, scratch.padded_depth, scratch.filter);
}

// Whether every tap reads the tile's own pixels, shifted, and the run of them fits.
template <class T>
bool shares_pixels(const Product<T>& p, int rows) {
  return p.stride == 1 && p.R * p.S > 1 && p.out_H == p.H && p.out_W == p.W &&
         rows + 2 * halo_of(p) <= kMostHaloRun;
}

template <class Shape, class Epilogue>
void run_mma(Stream stream, ConvVariant variant, unsigned blocks, const Product<bf16>& product,
             const Epilogue& epilogue, int column_tiles) {
  if (variant == ConvVariant::implicit_gemm_halo && shares_pixels(product, Shape::kRows))
    launch<implicit_gemm_halo_kernel<Shape, Epilogue>>(
        stream, {blocks, Shape::kThreads, halo_shared_bytes<Shape>(halo_of(product))}, product,
        epilogue, column_tiles);
  else
    launch<implicit_gemm_mma_kernel<Shape, Epilogue>>(
        stream, {blocks, Shape::kThreads, Shape::kSharedBytes}, product, epilogue, column_tiles);
}

template <class T, class Epilogue>
void run_product(Stream stream, ConvVariant variant, const TileShape& shape,
                 const Product<T>& product, const Epilogue& epilogue, int tiles) {
  const int column_tiles = ceil_div(product.columns, shape.columns);
  const unsigned blocks = static_cast<unsigned>(tiles * product.classes() * column_tiles);
  if (variant == ConvVariant::naive) {
    launch<naive_kernel<T, Epilogue>>(stream, {blocks, kNaiveThreads}, product, epilogue,
                                      column_tiles);
  } else if (variant == ConvVariant::smem_tiled) {
    launch<smem_tiled_kernel<T, Epilogue>>(
        stream, {blocks, SmemTile::kThreads, sizeof(float) * SmemTile::kSharedFloats}, product,
        epilogue, column_tiles);
  } else if constexpr (std::is_same_v<T, bf16>) {
    if (shape.rows == 64)
      run_mma<MmaTile<64, 64, 32, 32>>(stream, variant, blocks, product, epilogue, column_tiles);
    else if (shape.columns == 48)
      run_mma<MmaTile<128, 48, 32, 48>>(stream, variant, blocks, product, epilogue, column_tiles);
    else if (shape.columns == 64)
      run_mma<MmaTile<128, 64, 64, 32>>(stream, variant, blocks, product, epilogue, column_tiles);
    else if (shape.columns == 96)
      run_mma<MmaTile<128, 96, 64, 48>>(stream, variant, blocks, product, epilogue, column_tiles);
    else
      run_mma<MmaTile<128, 128, 64, 64>>(stream, variant, blocks, product, epilogue, column_tiles);
  }
}

}  // namespace

bool supports(ConvVariant variant, DType dtype) {
  switch (variant) {
    case ConvVariant::naive:
    case ConvVariant::smem_tiled:
      return dtype == DType::f32 || dtype == DType::bf16;
    case ConvVariant::implicit_gemm_mma:
    case ConvVariant::implicit_gemm_halo:
      return dtype == DType::bf16;
    case ConvVariant::cudnn:
      if constexpr (kHasCudnn) return dtype != DType::f64 && cudnn_found();
      return false;
    default:
      return false;
  }
}

// Where nothing near was measured: tensor cores wherever they take the type, else shared memory.
ConvVariant choose(ConvPass, const ConvProblem& p, DType dtype) {
  if (dtype == DType::f64)
    fail(ErrorKind::usage, "conv2d {}: f64 runs on the CPU; use --device cpu", p.to_string());
  return dtype == DType::bf16 ? ConvVariant::implicit_gemm_halo : ConvVariant::smem_tiled;
}

size_t workspace_bytes(ConvVariant variant, ConvPass pass, const ConvProblem& problem, DType dtype,
                       int segments) {
  if constexpr (kHasCudnn)
    if (variant == ConvVariant::cudnn)
      return library_workspace_bytes(kCudnn, pass, problem, dtype, segments);
  WorkspaceLayout work;
  if (dtype == DType::bf16)
    Scratch<bf16>(variant, pass, problem, segments, work);
  else
    Scratch<float>(variant, pass, problem, segments, work);
  return work.used();
}

template <class T>
void fprop(Stream stream, ConvVariant variant, const ConvProblem& p, const ConvFprop<T>& args,
           std::span<std::byte> workspace) {
  check_size(p);
  if constexpr (kHasCudnn)
    if (variant == ConvVariant::cudnn) return library_fprop(stream, kCudnn, p, args, workspace);
  WorkspaceLayout work("conv2d_fprop", workspace);
  const Scratch<T> scratch(variant, ConvPass::fprop, p, args.segments.count, work);
  pack_filter(stream, p, args.w, false, scratch);

  const Product<T> product{.source = args.x,
                           .H = p.H,
                           .W = p.W,
                           .ld = p.ldx,
                           .depth = p.C,
                           .source_vectors = aligned_to(16, args.x, p.ldx),
                           .scale = args.prologue.scale,
                           .shift = args.prologue.shift,
                           .filter = scratch.filter,
                           .padded_depth = scratch.padded_depth,
                           .R = p.R,
                           .S = p.S,
                           .stride = p.stride,
                           .pad = p.pad,
                           .out_H = p.P(),
                           .out_W = p.Q(),
                           .columns = p.K,
                           .transposed = false,
                           .offsets = args.segments.gpu_offsets,
                           .segments = args.segments.count};
  const StoreOutput<T> epilogue{.y = args.y,
                                .ld = p.ldy,
                                .pairs = aligned_to(2 * sizeof(T), args.y, p.ldy),
                                .units = args.moments.mean ? scratch.units : nullptr};
  const TileShape shape = tile_shape(variant, p, ConvPass::fprop);
  const int image_pixels = p.P() * p.Q();
  run_product(stream, variant, shape, product, epilogue,
              tiles_of(args.segments, image_pixels, shape.rows));
  if (args.moments.mean)
    launch<merge_moments_kernel<T>>(stream, merge_shape(p.K, args.segments.count), scratch.units,
                                    p.K, args.segments.gpu_offsets, image_pixels, shape.rows,
                                    args.moments.mean, args.moments.variance, args.moments.ld);
}

// g and its pitch: dy itself where the prologue leaves it as it is.
template <class T>
struct OutputGradient {
  const T* g;
  int ld;
};
template <class T, class GradT>
OutputGradient<T> output_gradient(Stream stream, const ConvProblem& p,
                                  const ConvDgrad<T, GradT>& args) {
  if constexpr (std::is_same_v<T, GradT>)
    if (!args.a && !args.b && !args.g_out) return {args.dy, args.lddy};
  MONO_CHECK(args.g_out, "conv2d_dgrad {}: on a GPU, a gradient that is not dy itself needs g_out",
             p.to_string());
  launch_gradient_prologue(stream, p, args, args.g_out);
  return {args.g_out, p.K};
}

template <class T, class GradT>
void dgrad(Stream stream, ConvVariant variant, const ConvProblem& p,
           const ConvDgrad<T, GradT>& args, std::span<std::byte> workspace) {
  check_size(p);
  if constexpr (kHasCudnn)
    if (variant == ConvVariant::cudnn) return library_dgrad(stream, kCudnn, p, args, workspace);
  WorkspaceLayout work("conv2d_dgrad", workspace);
  const Scratch<T> scratch(variant, ConvPass::dgrad, p, args.segments.count, work);
  pack_filter(stream, p, args.w, true, scratch);
  const OutputGradient<T> gradient = output_gradient(stream, p, args);

  const Product<T> product{.source = gradient.g,
                           .H = p.P(),
                           .W = p.Q(),
                           .ld = gradient.ld,
                           .depth = p.K,
                           .source_vectors = aligned_to(16, gradient.g, gradient.ld),
                           .scale = nullptr,
                           .shift = nullptr,
                           .filter = scratch.filter,
                           .padded_depth = scratch.padded_depth,
                           .R = p.R,
                           .S = p.S,
                           .stride = p.stride,
                           .pad = p.pad,
                           .out_H = p.H,
                           .out_W = p.W,
                           .columns = p.C,
                           .transposed = true,
                           .offsets = args.segments.gpu_offsets,
                           .segments = args.segments.count};
  const bool sums = args.sum_dz || args.sum_dzx;
  const StoreInputGradient<T, GradT> epilogue{
      .scale = args.mask.scale,
      .shift = args.mask.shift,
      .x = args.x,
      .ldx = p.ldx,
      .x_pairs = aligned_to(2 * sizeof(T), args.x, p.ldx),
      .mean = args.sum_dzx ? args.mean : nullptr,
      .mean_ld = args.mean_ld,
      .multiply = args.multiply,
      .dx = args.mode == GradMode::ignore ? nullptr : args.dx,
      .lddx = args.lddx,
      .dx_pairs = aligned_to(2 * sizeof(GradT), args.dx, args.lddx),
      .accumulate = args.mode == GradMode::accumulate,
      .units = sums ? scratch.units : nullptr};
  const TileShape shape = tile_shape(variant, p, ConvPass::dgrad);
  const int most_pixels = most_image_pixels(p, ConvPass::dgrad);
  run_product(stream, variant, shape, product, epilogue,
              tiles_of(args.segments, most_pixels, shape.rows));
  if (sums)
    launch<merge_sums_kernel<T>>(stream, merge_shape(p.C, args.segments.count), scratch.units, p.C,
                                 args.segments.gpu_offsets, most_pixels, shape.rows,
                                 product.classes(), args.sum_dz, args.sum_dzx);
}

template <class T>
void wgrad(Stream stream, ConvVariant variant, const ConvProblem& p, const ConvWgrad<T>& args,
           std::span<std::byte> workspace) {
  check_size(p);
  if constexpr (kHasCudnn)
    if (variant == ConvVariant::cudnn) return library_wgrad(stream, kCudnn, p, args, workspace);
  WorkspaceLayout work("conv2d_wgrad", workspace);
  const Scratch<T> scratch(variant, ConvPass::wgrad, p, args.segments.count, work);
  const UnitShape shape = unit_shape(variant, p, kDTypeOf<T>);
  const int units = tiles_of(args.segments, p.P() * p.Q(), shape.pixels);
  const WeightGradient<T> gradient{.x = args.x,
                                   .H = p.H,
                                   .W = p.W,
                                   .C = p.C,
                                   .ldx = p.ldx,
                                   .x_vectors = aligned_to(16, args.x, p.ldx),
                                   .scale = args.prologue.scale,
                                   .shift = args.prologue.shift,
                                   .g = args.g,
                                   .P = p.P(),
                                   .Q = p.Q(),
                                   .K = p.K,
                                   .ldg = args.ldg,
                                   .g_vectors = aligned_to(16, args.g, args.ldg),
                                   .R = p.R,
                                   .S = p.S,
                                   .stride = p.stride,
                                   .pad = p.pad,
                                   .offsets = args.segments.gpu_offsets,
                                   .segments = args.segments.count,
                                   .unit_pixels = shape.pixels,
                                   .partial = scratch.partial};
  const dim3 grid(shape.blocks, units);
  if (variant == ConvVariant::naive)
    launch<naive_wgrad_kernel<T>>(stream, {grid, kNaiveThreads}, gradient);
  else if (variant == ConvVariant::smem_tiled)
    launch<smem_tiled_wgrad_kernel<T>>(stream, {grid, SmemWgradTile::kThreads}, gradient,
                                       shape.column_tiles);
  else if constexpr (std::is_same_v<T, bf16>)
    launch<implicit_gemm_mma_wgrad_kernel<T>>(stream, {grid, MmaWgradTile::kThreads}, gradient,
                                              shape.column_tiles);
  const int64_t weights = gradient.weights();
  launch<merge_wgrad_kernel<T>>(stream, {blocks_for(weights, 256), 256}, scratch.partial, units,
                                weights, args.mode == GradMode::accumulate, args.dw);
}

#define MONO_INSTANCE(T)                                                            \
  template void fprop(Stream, ConvVariant, const ConvProblem&, const ConvFprop<T>&, \
                      std::span<std::byte>);                                        \
  template void wgrad(Stream, ConvVariant, const ConvProblem&, const ConvWgrad<T>&, \
                      std::span<std::byte>);
#define MONO_DGRAD_INSTANCE(T, GradT)                                                      \
  template void dgrad(Stream, ConvVariant, const ConvProblem&, const ConvDgrad<T, GradT>&, \
                      std::span<std::byte>);
MONO_INSTANCE(float)
MONO_INSTANCE(bf16)
MONO_DGRAD_INSTANCE(float, float)
MONO_DGRAD_INSTANCE(bf16, bf16)
MONO_DGRAD_INSTANCE(bf16, float)

}  // namespace mono::conv2d_gpu
