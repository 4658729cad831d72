// Matrix product with optional transposes, a column bias, and a residual branch's epilogue:
// C = op(A) op(B) (+ bias) (+ C),  or  C = residual + keep (op(A) op(B) + bias).
//
// Row-major with leading dimensions. T operands, accumulation in Master<T>. Reductions over the
// inner dimension run in an order fixed by the problem.
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include "kernels/base/device.h"
#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"

namespace mono {

struct MatmulProblem {
  int M, N, K;                    // C (M,N); op(A) (M,K); op(B) (K,N)
  bool transpose_a = false;       // A stored (K,M)
  bool transpose_b = false;       // B stored (N,K)
  int lda = 0, ldb = 0, ldc = 0;  // 0: packed

  double flops() const { return 2.0 * M * N * K; }
  std::string to_string() const;
};

// A variant belongs to the CPU or to the GPU.
enum class MatmulVariant {
  reference,   // CPU: register tiles, any type: the definition
  onednn,      // CPU: oneDNN on tiles of C; f32, bf16
  naive,       // GPU: a thread per element of C, any type
  smem_tiled,  // GPU: tiles in shared memory, fused multiply-adds; f32
  mma,         // GPU: tensor cores, asynchronous copies; bf16
  cublaslt,    // GPU: the vendor's library, in CUDA builds; f32 (no TF32), bf16
};
std::string_view name_of(MatmulVariant variant);
// Whether `device` can run `variant` in this build for the problem and type.
bool matmul_supports(Device device, MatmulVariant variant, const MatmulProblem& problem,
                     DType dtype);
// The quickest variant of the device for the problem.
MatmulVariant matmul_choose(Device device, const MatmulProblem& problem, DType dtype);
// Scratch, in the memory of the variant's device.
size_t matmul_workspace_bytes(MatmulVariant variant, const MatmulProblem& problem, DType dtype);

// A and B may each be T or Master<T> (filters stay in master precision; a bf16 product rounds them
// first). C is T or Master<T>. bias (N) may be null; with GradMode::accumulate C is added to.
// residual (M,N), at C's pitch, is added after the product; it is not C. keep has a factor for each
// run of rows_per_keep rows (an image's tokens: drop path), applied to the product and its bias.
template <class A, class B, class Out>
struct Matmul {
  const A* a = nullptr;
  const B* b = nullptr;
  const Master<Out>* bias = nullptr;
  Out* c = nullptr;
  GradMode mode = GradMode::overwrite;
  const Out* residual = nullptr;
  const float* keep = nullptr;
  int rows_per_keep = 1;
};
// `compute` is the activation type (f32, bf16, f64) that decides how operands are rounded.
template <class A, class B, class Out>
void matmul(MatmulVariant variant, const MatmulProblem& problem, DType compute,
            const Matmul<A, B, Out>& args, std::span<std::byte> workspace);

// The same on the stream's device, with a variant of that device and its pointers. (A CPU stream:
// the function above.)
template <class A, class B, class Out>
void matmul(Stream stream, MatmulVariant variant, const MatmulProblem& problem, DType compute,
            const Matmul<A, B, Out>& args, std::span<std::byte> workspace);

}  // namespace mono
