// Matrix product on the GPU, C = op(A) op(B) and what is added on the way: what the variants share,
// and the definition. The faster ones: matmul_smem_tiled.cuh, matmul_mma.cuh.
#pragma once

#include "kernels/matmul/matmul_variants.h"
#include "kernels/simt/pack.cuh"
#include "kernels/simt/simt.cuh"

namespace mono {

// Where C goes, and what is added on the way; added up in master precision and rounded once.
template <class Out>
struct MatmulOutput {
  Out* c;
  int64_t ldc;
  const Master<Out>* bias;  // null: none
  const Out* add;           // null, the residual, or c itself: at c's pitch
  bool pairs;               // c, add and ldc are aligned for two neighbouring elements at once
  const float* keep = nullptr;
  int rows_per_keep = 1;

  // N is the end of the row: of a pair, only what lies before it is stored.
  __device__ __forceinline__ void store_pair(int m, int n, int N, Master<Out> first,
                                             Master<Out> second) const {
    if (!pairs || n + 1 >= N) {
      store(m, n, first);
      if (n + 1 < N) store(m, n + 1, second);
      return;
    }
    Out* out = c + m * ldc + n;
    if (bias) first += bias[n], second += bias[n + 1];
    if (keep) {
      const Master<Out> factor = static_cast<Master<Out>>(keep[m / rows_per_keep]);
      first *= factor, second *= factor;
    }
    if (add) {
      const Pack<Out, 2> before = load_pack<Out, 2>(add + m * ldc + n);
      first += static_cast<Master<Out>>(before.value[0]);
      second += static_cast<Master<Out>>(before.value[1]);
    }
    store_pack(out, Pack<Out, 2>{{static_cast<Out>(first), static_cast<Out>(second)}});
  }
  __device__ __forceinline__ void store(int m, int n, Master<Out> sum) const {
    Out* out = c + m * ldc + n;
    if (bias) sum += bias[n];
    if (keep) sum *= static_cast<Master<Out>>(keep[m / rows_per_keep]);
    if (add) sum += static_cast<Master<Out>>(add[m * ldc + n]);
    *out = static_cast<Out>(sum);
  }
};

// How the sum over k is split among blocks: split s adds up k_each terms from s * k_each on, into
// its own plane (M,N) of `partial`, and matmul_merge_kernel adds the planes. Where C has too few
// tiles to fill the GPU; the problem alone decides, so that the bits do not depend on the GPU.
struct MatmulSplit {
  int count = 1, k_each;
  float* partial = nullptr;  // (count, M, N); null with one split

  // Columns n (even) and n + 1, as far as they lie before N.
  template <class Out>
  __device__ __forceinline__ void store_pair(const MatmulOutput<Out>& out, int M, int N, int m,
                                             int n, float first, float second) const {
    if (partial)
      MatmulOutput<float>{partial + int64_t{blockIdx.y} * M * N, N, nullptr, nullptr, N % 2 == 0}
          .store_pair(m, n, N, first, second);
    else
      out.store_pair(m, n, N, first, second);
  }
};

// C from the splits, in their order, in double.
template <class Out>
__global__ void __launch_bounds__(256)
    matmul_merge_kernel(int M, int N, const float* partial, int splits, MatmulOutput<Out> out) {
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= int64_t{M} * N) return;
  double sum = 0;
  for (int s = 0; s < splits; ++s) sum += partial[int64_t{s} * M * N + at];
  out.store(static_cast<int>(at / N), static_cast<int>(at % N), static_cast<float>(sum));
}

// Strides of the elements of op(A) or op(B), whichever way it is stored.
struct MatmulStrides {
  int64_t outer, k;  // of m (or n), and of k
};

// Variant `naive`: a thread per element of C, a warp along a row. Traffic: each operand once per
// thread, in the hope of caches.
template <class T, class A, class B, class Out>
__global__ void __launch_bounds__(256)
    matmul_naive_kernel(int M, int N, int K, const A* a, MatmulStrides sa, const B* b,
                        MatmulStrides sb, MatmulOutput<Out> out) {
  using E = Master<T>;
  const int64_t at = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (at >= int64_t{M} * N) return;
  const int m = static_cast<int>(at / N), n = static_cast<int>(at % N);
  E sum = 0;
  for (int k = 0; k < K; ++k)
    sum = fma(operand<T, E>(a[m * sa.outer + k * sa.k]), operand<T, E>(b[n * sb.outer + k * sb.k]),
              sum);
  out.store(m, n, sum);
}

}  // namespace mono
