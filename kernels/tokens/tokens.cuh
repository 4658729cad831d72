// The steps of tokens on the GPU: a thread a value, or a pack of 16 bytes; neighbouring threads,
// neighbouring channels.
#pragma once

#include "kernels/simt/pack.cuh"
#include "kernels/tokens/tokens_steps.h"

namespace mono {

inline constexpr int kTokensThreads = 256;

__global__ void __launch_bounds__(kTokensThreads)
    position_weights_kernel(PositionAxis axis, double* weights) {
  const int at = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (at >= axis.size * axis.grid) return;
  weights[at] = position_weight(axis, at / axis.grid, at % axis.grid);
}

// y of the grid: (batch, row).
template <class M>
__global__ void __launch_bounds__(kTokensThreads)
    weighted_rows_kernel(WeightedRows p, const M* in, M* out, bool accumulate) {
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x);
  if (c >= p.columns) return;
  const int b = static_cast<int>(blockIdx.y) / p.rows, r = static_cast<int>(blockIdx.y) % p.rows;
  const M* const from = in + int64_t{b} * p.terms * p.columns + c;
  M* const to = out + int64_t{blockIdx.y} * p.columns + c;
  double sum = accumulate ? static_cast<double>(*to) : 0.0;
  for (int t = 0; t < p.terms; ++t)
    sum += p.weights[r * p.row_step + t * p.term_step] *
           static_cast<double>(from[int64_t{t} * p.columns]);
  *to = static_cast<M>(sum);
}

// y of the grid: token; z: image.
template <class T, int V>
__global__ void __launch_bounds__(kTokensThreads)
    add_positions_kernel(int patches, int D, TokensForward<T> args, const Master<T>* positions) {
  using M = Master<T>;
  const int c = static_cast<int>(blockIdx.x * blockDim.x + threadIdx.x) * V;
  if (c >= D) return;
  const int t = static_cast<int>(blockIdx.y);
  const int64_t n = blockIdx.z;
  Pack<T, V> pack;
  if (t > 0) pack = load_pack<T, V>(args.patches + (n * patches + t - 1) * D + c);
  const M* const position = t == 0 ? args.pos : positions + int64_t{t - 1} * D;
  const M* const offset = t == 0 ? args.cls : args.bias;
#pragma unroll
  for (int v = 0; v < V; ++v) {
    M value = t == 0 ? M(0) : static_cast<M>(pack.value[v]);
    if (offset) value += offset[c + v];
    pack.value[v] = T(value + position[c + v]);
  }
  store_pack<T, V>(args.y + (n * (patches + 1) + t) * D + c, pack);
}

// A thread a value of (tokens, D), over the images in order.
template <class T>
__global__ void __launch_bounds__(kTokensThreads)
    token_sums_kernel(int N, int64_t image, const T* dy, Master<T>* sums) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= image) return;
  double sum = 0;
  for (int n = 0; n < N; ++n)
    sum += static_cast<double>(static_cast<Master<T>>(dy[n * image + at]));
  sums[at] = static_cast<Master<T>>(sum);
}

}  // namespace mono
