// Every variant of the matrix product against a naive oracle: the one in double is the truth, the
// one in the tested types is the plain computation, whose error may be doubled at most.
#include "kernels/matmul/matmul.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/kernel_test.h"

namespace mono {
namespace {

using namespace mono::test;

struct Case {
  MatmulProblem problem;
  bool bias = false, accumulate = false;
};

const std::vector<Case> kCases = {
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

int64_t size_a(const MatmulProblem& p) {
  return p.transpose_a ? int64_t{p.K} * std::max(p.lda, p.M) : int64_t{p.M} * std::max(p.lda, p.K);
}
int64_t size_b(const MatmulProblem& p) {
  return p.transpose_b ? int64_t{p.N} * std::max(p.ldb, p.K) : int64_t{p.K} * std::max(p.ldb, p.N);
}
int64_t size_c(const MatmulProblem& p) {
  return int64_t{p.M} * std::max(p.ldc, p.N);
}

template <class A, class B, class Out>
GuardedArray<Out> run(MatmulVariant variant, DType compute, const Case& test) {
  const MatmulProblem& p = test.problem;
  const GuardedArray<A> a = normal<A>(size_a(p), 1);
  const GuardedArray<B> b = normal<B>(size_b(p), 2);
  const GuardedArray<Master<Out>> bias = normal<Master<Out>>(p.N, 3);
  GuardedArray<Out> c = normal<Out>(size_c(p), 4);
  Matmul<A, B, Out> args{a.data(), b.data(), test.bias ? bias.data() : nullptr, c.data(),
                         test.accumulate ? GradMode::accumulate : GradMode::overwrite};
  GuardedArray<std::byte> workspace(
      static_cast<int64_t>(matmul_workspace_bytes(variant, p, compute)));
  std::fill_n(workspace.data(), workspace.size(), std::byte{0xff});
  matmul<A, B, Out>(variant, p, compute, args, workspace.span());
  EXPECT_TRUE(workspace.intact());
  return c;
}

// Sums in order, in Accumulator, of the same bf16-representable operands.
template <class Accumulator, class Out>
GuardedArray<Out> oracle(const Case& test) {
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

template <class A, class B, class Out>
void check(DType compute, const Case& test) {
  const GuardedArray<double> truth = oracle<double, double>(test);
  const double plain = relative_error(oracle<Master<Out>, Out>(test), truth);
  for (MatmulVariant variant : {MatmulVariant::reference, MatmulVariant::onednn}) {
    if (!matmul_supports(variant, test.problem, compute)) continue;
    SCOPED_TRACE(fmt::format("{} {}: {} {} -> {}, {}", name_of(variant), name_of(compute),
                             name_of(kDTypeOf<A>), name_of(kDTypeOf<B>), name_of(kDTypeOf<Out>),
                             test.problem.to_string()));
    GuardedArray<Out> serial(0);
    for (int threads : {1, 2, 3}) {
      const Threads scope(threads);
      const GuardedArray<Out> c = run<A, B, Out>(variant, compute, test);
      EXPECT_TRUE(c.intact());
      EXPECT_LE(relative_error(c, truth), 2 * plain + kErrorFloor<Out>);
      if (threads == 1)
        serial = c;
      else
        EXPECT_TRUE(c == serial) << threads << " threads";
    }
  }
}

TEST(Matmul, AgreesWithTheOracleForAnyNumberOfThreads) {
  for (const Case& test : kCases) {
    check<double, double, double>(DType::f64, test);
    check<float, float, float>(DType::f32, test);
    check<bf16, bf16, bf16>(DType::bf16, test);
    check<bf16, float, bf16>(DType::bf16, test);
    check<bf16, float, float>(DType::bf16, test);
    check<float, bf16, float>(DType::bf16, test);
    check<float, float, bf16>(DType::bf16, test);
    check<bf16, bf16, float>(DType::bf16, test);
  }
}

TEST(Matmul, OperandsOfABf16ProductAreRounded) {
  const float one_and_a_bit = 1.0f + 0x1p-12f;  // 1 in bf16
  for (MatmulVariant variant : {MatmulVariant::reference, MatmulVariant::onednn}) {
    const MatmulProblem problem{1, 1, 1};
    if (!matmul_supports(variant, problem, DType::bf16)) continue;
    float c = 0;
    GuardedArray<std::byte> workspace(
        static_cast<int64_t>(matmul_workspace_bytes(variant, problem, DType::bf16)));
    matmul<float, float, float>(variant, problem, DType::bf16,
                                {&one_and_a_bit, &one_and_a_bit, nullptr, &c}, workspace.span());
    EXPECT_EQ(c, 1.0f) << name_of(variant);
  }
}

TEST(Matmul, RejectsWhatCannotBe) {
  float x = 1;
  double d = 1;
  std::vector<std::byte> workspace(1 << 16);
  const auto reference = MatmulVariant::reference;
  EXPECT_THROW((matmul<float, float, float>(reference, {1, 1, 0}, DType::f32, {&x, &x, nullptr, &x},
                                            workspace)),
               Error);
  EXPECT_THROW((matmul<float, float, float>(reference, {2, 2, 2, false, false, 1}, DType::f32,
                                            {&x, &x, nullptr, &x}, workspace)),
               Error);
  EXPECT_THROW((matmul<double, double, double>(reference, {1, 1, 1}, DType::f32,
                                               {&d, &d, nullptr, &d}, workspace)),
               Error);
}

}  // namespace
}  // namespace mono
