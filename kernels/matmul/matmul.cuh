// Matrix product on the GPU: C = op(A) op(B) (+ bias) (+ C), what the variants share, and the
// definition. The faster ones: matmul_smem_tiled.cuh, matmul_mma.cuh.
#pragma once

#include "kernels/matmul/matmul_variants.h"
#include "kernels/simt/simt.cuh"

namespace mono {

// Where C goes, and what is added on the way; added up in master precision and rounded once.
template <class Out>
struct MatmulOutput {
  Out* c;
  int64_t ldc;
  const Master<Out>* bias;  // null: none
  bool accumulate;

  __device__ __forceinline__ void store(int m, int n, Master<Out> sum) const {
    Out* out = c + m * ldc + n;
    if (bias) sum += bias[n];
    if (accumulate) sum += static_cast<Master<Out>>(*out);
    *out = static_cast<Out>(sum);
  }
};

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
