// Problems for the matrix product, and the naive oracle: in double the truth, in the tested types
// the plain computation, whose error may be doubled at most.
#pragma once

#include <algorithm>
#include <vector>

#include "kernels/matmul/matmul.h"
#include "tests/kernels/kernel_test.h"

namespace mono::test {

struct MatmulCase {
  MatmulProblem problem;
  bool bias = false, accumulate = false;
};

inline const std::vector<MatmulCase> kMatmulCases = {
    {{1, 1, 1}},
    {{7, 31, 33}, true},
    {{8, 33, 200, false, true}, true},
    {{33, 31, 7, true, false}, false, true},
    {{31, 7, 33, true, true}, true, true},
    {{64, 48, 96, false, true, 100, 99, 50}, true},
    {{5, 300, 130, false, true, 0, 0, 301}, true, true},
    {{300, 17, 64, false, false, 70, 20, 17}},
    {{270, 260, 9, true, false, 271, 263, 264}, false, true},
    {{1, 128, 256}, true},
    {{128, 1, 256, false, true}},
};

inline int64_t size_a(const MatmulProblem& p) {
  return p.transpose_a ? int64_t{p.K} * std::max(p.lda, p.M) : int64_t{p.M} * std::max(p.lda, p.K);
}
inline int64_t size_b(const MatmulProblem& p) {
  return p.transpose_b ? int64_t{p.N} * std::max(p.ldb, p.K) : int64_t{p.K} * std::max(p.ldb, p.N);
}
inline int64_t size_c(const MatmulProblem& p) {
  return int64_t{p.M} * std::max(p.ldc, p.N);
}

// Sums in order, in Accumulator, of the same bf16-representable operands.
template <class Accumulator, class Out>
GuardedArray<Out> oracle(const MatmulCase& test) {
  const MatmulProblem& p = test.problem;
  const int lda = p.lda ? p.lda : p.transpose_a ? p.M : p.K;
  const int ldb = p.ldb ? p.ldb : p.transpose_b ? p.K : p.N;
  const int ldc = p.ldc ? p.ldc : p.N;
  const GuardedArray<Accumulator> a = normal<Accumulator>(size_a(p), 1);
  const GuardedArray<Accumulator> b = normal<Accumulator>(size_b(p), 2);
  const GuardedArray<Accumulator> bias = normal<Accumulator>(p.N, 3);
  GuardedArray<Out> c = normal<Out>(size_c(p), 4);
  for (int m = 0; m < p.M; ++m)
    for (int n = 0; n < p.N; ++n) {
      Accumulator sum = 0;
      for (int k = 0; k < p.K; ++k)
        sum += a[p.transpose_a ? int64_t{k} * lda + m : int64_t{m} * lda + k] *
               b[p.transpose_b ? int64_t{n} * ldb + k : int64_t{k} * ldb + n];
      Out& out = c[int64_t{m} * ldc + n];
      if (test.bias) sum += bias[n];
      if (test.accumulate) sum += static_cast<Accumulator>(out);
      out = static_cast<Out>(sum);
    }
  return c;
}

}  // namespace mono::test
