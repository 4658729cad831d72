#include "kernels/matmul/matmul.cuh"

#include <algorithm>
#include <type_traits>

#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/matmul_cublaslt.h"
#include "kernels/matmul/matmul_mma.cuh"
#include "kernels/matmul/matmul_smem_tiled.cuh"

namespace mono {
namespace {

MatmulStrides strides_a(const MatmulProblem& p) {
  return p.transpose_a ? MatmulStrides{1, p.lda} : MatmulStrides{p.lda, 1};
}
MatmulStrides strides_b(const MatmulProblem& p) {
  return p.transpose_b ? MatmulStrides{p.ldb, 1} : MatmulStrides{1, p.ldb};
}

// The tile of C that a block computes, and the split of k.
struct Plan {
  int tile = 64;
  int splits = 1;
  int k_each;

  int64_t tiles(const MatmulProblem& p) const {
    return int64_t{(p.M + tile - 1) / tile} * ((p.N + tile - 1) / tile);
  }
};

// Large tiles where they still give every multiprocessor of a large GPU one; else small ones, and
// where those are few, a split of k into runs of 256 terms or more.
Plan make_plan(MatmulVariant variant, const MatmulProblem& p) {
  constexpr int kBlocks = 256, kLeastTerms = 256, kSlice = 32;
  Plan plan{.k_each = p.K};
  if (variant == MatmulVariant::cublaslt) return plan;
  if (variant == MatmulVariant::mma) {
    plan.tile = 128;
    if (plan.tiles(p) >= kBlocks / 2) return plan;
    plan.tile = 64;
  }
  const int64_t wanted = kBlocks / plan.tiles(p), most = p.K / kLeastTerms;
  const int splits = static_cast<int>(std::max<int64_t>(std::min(wanted, most), 1));
  const int slices = (p.K + kSlice - 1) / kSlice;
  plan.k_each = (slices + splits - 1) / splits * kSlice;
  plan.splits = (p.K + plan.k_each - 1) / plan.k_each;
  return plan;
}

// Scratch of a variant: sums of the splits, and operands that the tensor cores cannot take as they
// are; the rest is for cuBLASLt.
struct Scratch {
  float* partial = nullptr;  // (splits, M, N); of cublaslt a result of one split, to be finished
  bf16 *a = nullptr, *b = nullptr;
  int lda, ldb;

  Scratch(MatmulVariant variant, const MatmulProblem& p, DType dtype, WorkspaceLayout& work) {
    const auto padded = [](int columns) { return (columns + 7) / 8 * 8; };
    lda = padded(p.transpose_a ? p.M : p.K);
    ldb = padded(p.transpose_b ? p.K : p.N);
    if (variant == MatmulVariant::naive) return;
    const int splits = make_plan(variant, p).splits;
    if (splits > 1 || variant == MatmulVariant::cublaslt)
      partial = work.take<float>(int64_t{splits} * p.M * p.N);
    if (dtype == DType::f32) return;
    a = work.take<bf16>(int64_t{p.transpose_a ? p.K : p.M} * lda);
    b = work.take<bf16>(int64_t{p.transpose_b ? p.N : p.K} * ldb);
  }
};

// The operand (rows, columns) as the tensor cores want it, bf16 in rows of whole 16 bytes: itself,
// or rounded or realigned into `packed`. Sets ld to the pitch of what is returned.
template <class X>
const bf16* aligned_operand(Stream stream, int rows, int columns, const X* x, int& ld, bf16* packed,
                            int ld_packed) {
  if constexpr (std::is_same_v<X, bf16>)
    if (ld % 8 == 0 && reinterpret_cast<uintptr_t>(x) % 16 == 0) return x;
  copy_channels<bf16, X>(stream, rows, columns, x, ld, packed, ld_packed, GradMode::overwrite);
  ld = ld_packed;
  return packed;
}

template <int Tile, class Out>
void launch_mma(Stream stream, const MatmulProblem& p, const bf16* a, const bf16* b,
                const MatmulOutput<Out>& out, const MatmulSplit& split, dim3 grid) {
  using Shape = MatmulMma<Tile>;
  const LaunchShape shape{grid, Shape::kThreads, Shape::kShared};
  const auto go = [&]<bool TransposedA, bool TransposedB>() {
    launch<matmul_mma_kernel<Tile, TransposedA, TransposedB, Out>>(stream, shape, p.M, p.N, p.K, a,
                                                                   p.lda, b, p.ldb, out, split);
  };
  if (p.transpose_a)
    p.transpose_b ? go.template operator()<true, false>() : go.template operator()<true, true>();
  else
    p.transpose_b ? go.template operator()<false, false>() : go.template operator()<false, true>();
}

template <class T, class A, class B, class Out>
void run(Stream stream, MatmulVariant variant, MatmulProblem p, const Matmul<A, B, Out>& args,
         std::span<std::byte> workspace) {
  const bool accumulate = args.mode == GradMode::accumulate;
  const Out* const add = accumulate ? args.c : args.residual;
  const auto in_pairs = [&](const Out* c) {
    return p.ldc % 2 == 0 && reinterpret_cast<uintptr_t>(c) % (2 * sizeof(Out)) == 0;
  };
  const MatmulOutput<Out> out{args.c,
                              p.ldc,
                              args.bias,
                              add,
                              in_pairs(args.c) && in_pairs(add),
                              args.keep,
                              args.rows_per_keep};
  const dim3 per_element(blocks_for(int64_t{p.M} * p.N, 256));
  if (variant == MatmulVariant::naive)
    return launch<matmul_naive_kernel<T, A, B, Out>>(
        stream, {per_element, 256}, p.M, p.N, p.K, args.a, strides_a(p), args.b, strides_b(p), out);
  if constexpr (!std::is_same_v<T, double>) {
    WorkspaceLayout work("matmul", workspace);
    const Scratch scratch(variant, p, kDTypeOf<T>, work);
    const T *a = nullptr, *b = nullptr;
    if constexpr (std::is_same_v<T, float>) {
      a = args.a, b = args.b;
    } else {
      a = aligned_operand(stream, p.transpose_a ? p.K : p.M, p.transpose_a ? p.M : p.K, args.a,
                          p.lda, scratch.a, scratch.lda);
      b = aligned_operand(stream, p.transpose_b ? p.N : p.K, p.transpose_b ? p.K : p.N, args.b,
                          p.ldb, scratch.b, scratch.ldb);
    }
    const Plan plan = make_plan(variant, p);
    MatmulSplit split{plan.splits, plan.k_each, scratch.partial};
    const dim3 grid(static_cast<unsigned>(plan.tiles(p)), static_cast<unsigned>(plan.splits));
    if (variant == MatmulVariant::cublaslt) {
      // cuBLASLt adds a bias in the type of the result only, and knows no factor of rows.
      const bool merged = (args.bias && std::is_same_v<Out, bf16>) || args.residual || args.keep;
      if (!merged) split.partial = nullptr;
      MatmulProblem product = p;
      if (merged) product.ldc = p.N;
      if constexpr (kGpu == Device::cuda)
        matmul_cublaslt(stream, product,
                        {a, b, merged ? nullptr : args.bias,
                         merged ? static_cast<void*>(split.partial) : args.c, kDTypeOf<T>,
                         merged ? DType::f32 : kDTypeOf<Out>, accumulate && !merged},
                        work.rest());
    } else if constexpr (std::is_same_v<T, float>) {
      launch<matmul_smem_tiled_kernel>(stream, {grid, SmemTiled::kThreads}, p.M, p.N, p.K, a,
                                       strides_a(p), b, strides_b(p), out, split);
    } else {
      plan.tile == 128 ? launch_mma<128>(stream, p, a, b, out, split, grid)
                       : launch_mma<64>(stream, p, a, b, out, split, grid);
    }
    if (split.partial)
      launch<matmul_merge_kernel<Out>>(stream, {per_element, 256}, p.M, p.N, split.partial,
                                       split.count, out);
  }
}

}  // namespace

size_t matmul_gpu_workspace(MatmulVariant variant, const MatmulProblem& problem, DType dtype) {
  WorkspaceLayout work;
  Scratch(variant, problem, dtype, work);
  return work.used() + (variant == MatmulVariant::cublaslt ? kCublasLtWorkspaceBytes : 0);
}

template <class A, class B, class Out>
void matmul(Stream stream, MatmulVariant variant, const MatmulProblem& problem, DType compute,
            const Matmul<A, B, Out>& args, std::span<std::byte> workspace) {
  if (!stream.on_gpu()) return matmul<A, B, Out>(variant, problem, compute, args, workspace);
  const MatmulProblem p = matmul_checked(problem);
  if (args.mode == GradMode::ignore) return;
  matmul_check_call(stream.device, variant, p, compute, matmul_operands(args));
  if constexpr (std::is_same_v<A, double>) {
    if (compute == DType::f64) return run<double>(stream, variant, p, args, workspace);
  } else {
    if constexpr (std::is_same_v<A, float> && std::is_same_v<B, float> &&
                  std::is_same_v<Out, float>)
      if (compute == DType::f32) return run<float>(stream, variant, p, args, workspace);
    if (compute == DType::bf16) return run<bf16>(stream, variant, p, args, workspace);
  }
  matmul_fail_types(p, compute, kDTypeOf<A>, kDTypeOf<B>, kDTypeOf<Out>);
}

#define MONO_INSTANCE(T, A, B, Out)                                        \
  template void matmul(Stream, MatmulVariant, const MatmulProblem&, DType, \
                       const Matmul<A, B, Out>&, std::span<std::byte>);
MONO_INSTANCE(float, float, float, float)
MONO_INSTANCE(bf16, float, float, bf16)
MONO_INSTANCE(bf16, float, bf16, float)
MONO_INSTANCE(bf16, float, bf16, bf16)
MONO_INSTANCE(bf16, bf16, float, float)
MONO_INSTANCE(bf16, bf16, float, bf16)
MONO_INSTANCE(bf16, bf16, bf16, float)
MONO_INSTANCE(bf16, bf16, bf16, bf16)
MONO_INSTANCE(double, double, double, double)

}  // namespace mono
