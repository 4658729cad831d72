// Matrix product, variant `reference`: the definition, for every type.
//
// B is rounded, widened to Master<T> and laid out in panels of columns; then each unit, a tile of
// rows by one panel, widens its rows of A and runs gemm_add. Units and the order of every sum are
// fixed by the problem. Traffic: A once per panel, B once per tile of rows.
#include <algorithm>

#include "kernels/matmul/gemm_tile.h"
#include "kernels/matmul/matmul_variants.h"

namespace mono {
namespace {

constexpr int kRows = 64, kPanel = 96;

template <class T>
struct Scratch {
  using M = Master<T>;
  int width;  // of a panel
  int64_t panels, row_tiles, a_size, c_size;
  M* b;  // (panels, K, width), zero beyond N
  M* a;  // per worker: (kRows, K)
  M* c;  // per worker: (kRows, width)

  Scratch(const MatmulProblem& p, WorkspaceLayout& work)
      : width(std::min(kPanel, gemm_padded(p.N))),
        panels((p.N + width - 1) / width),
        row_tiles((p.M + kRows - 1) / kRows),
        a_size(int64_t{std::min(kRows, p.M)} * p.K),
        c_size(int64_t{std::min(kRows, p.M)} * width) {
    b = work.take<M>(panels * p.K * width);
    a = work.take<M>(num_threads() * a_size);
    c = work.take<M>(num_threads() * c_size);
  }
};

}  // namespace

template <class T, class A, class B, class Out>
void matmul_reference(const MatmulProblem& p, const Matmul<A, B, Out>& args,
                      std::span<std::byte> workspace) {
  using M = Master<T>;
  WorkspaceLayout work("matmul", workspace);
  const Scratch<T> scratch(p, work);
  const int width = scratch.width;

  parallel_for(scratch.panels, [&](int64_t panel, int) {
    const int n_begin = static_cast<int>(panel) * width;
    const int columns = std::min(width, p.N - n_begin);
    M* b = scratch.b + panel * p.K * width;
    for (int k = 0; k < p.K; ++k)
      for (int j = 0; j < width; ++j) {
        const int64_t n = n_begin + j;
        const int64_t at = p.transpose_b ? n * p.ldb + k : int64_t{k} * p.ldb + n;
        b[int64_t{k} * width + j] = j < columns ? operand<T, M>(args.b[at]) : M(0);
      }
  });

  parallel_for(scratch.row_tiles * scratch.panels, [&](int64_t unit, int worker) {
    const int m_begin = static_cast<int>(unit / scratch.panels) * kRows;
    const int64_t panel = unit % scratch.panels;
    const int n_begin = static_cast<int>(panel) * width;
    const int rows = std::min(kRows, p.M - m_begin), columns = std::min(width, p.N - n_begin);
    M* a = scratch.a + worker * scratch.a_size;
    M* c = scratch.c + worker * scratch.c_size;
    for (int i = 0; i < rows; ++i)
      for (int k = 0; k < p.K; ++k) {
        const int64_t m = m_begin + i;
        const int64_t at = p.transpose_a ? int64_t{k} * p.lda + m : m * p.lda + k;
        a[int64_t{i} * p.K + k] = operand<T, M>(args.a[at]);
      }
    std::fill_n(c, int64_t{rows} * width, M(0));
    gemm_add<M>(rows, width, p.K, a, p.K, 1, scratch.b + panel * p.K * width, width, c, width);
    for (int i = 0; i < rows; ++i) {
      Out* out = args.c + int64_t{m_begin + i} * p.ldc + n_begin;
      for (int j = 0; j < columns; ++j) {
        M sum = c[int64_t{i} * width + j];
        if (args.bias) sum += args.bias[n_begin + j];
        if (args.keep) sum *= static_cast<M>(args.keep[(m_begin + i) / args.rows_per_keep]);
        if (args.residual)
          sum += static_cast<M>(args.residual[int64_t{m_begin + i} * p.ldc + n_begin + j]);
        if (args.mode == GradMode::accumulate) sum += static_cast<M>(out[j]);
        out[j] = static_cast<Out>(sum);
      }
    }
  });
}

size_t matmul_reference_workspace(const MatmulProblem& problem, DType dtype) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout work;
    Scratch<T>(problem, work);
    return work.used();
  });
}

#define MONO_INSTANCE(T, A, B, Out)                                                 \
  template void matmul_reference<T>(const MatmulProblem&, const Matmul<A, B, Out>&, \
                                    std::span<std::byte>);
MONO_MATMUL_FLOAT_INSTANCES(MONO_INSTANCE)
MONO_INSTANCE(double, double, double, double)

}  // namespace mono
