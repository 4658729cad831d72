// Every CPU variant of the matrix product against a naive oracle (matmul_cases.h).
#include "kernels/matmul/matmul.h"

#include <gtest/gtest.h>

#include <vector>

#include "tests/kernels/matmul_cases.h"

namespace mono {
namespace {

using namespace mono::test;

template <class A, class B, class Out>
GuardedArray<Out> run(MatmulVariant variant, DType compute, const MatmulCase& test) {
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

template <class A, class B, class Out>
void check(DType compute, const MatmulCase& test) {
  const GuardedArray<double> truth = oracle<double, double>(test);
  const double plain = relative_error(oracle<Master<Out>, Out>(test), truth);
  for (MatmulVariant variant : {MatmulVariant::reference, MatmulVariant::onednn}) {
    if (!matmul_supports(Device::cpu, variant, test.problem, compute)) continue;
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
  for (const MatmulCase& test : kMatmulCases) {
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
    if (!matmul_supports(Device::cpu, variant, problem, DType::bf16)) continue;
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
