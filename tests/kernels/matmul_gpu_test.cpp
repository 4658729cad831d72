// Every GPU variant of the matrix product against a naive oracle (matmul_cases.h).
#include "kernels/matmul/matmul.h"

#include "kernels/matmul/matmul_cublaslt.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/matmul_cases.h"

namespace mono {
namespace {

using namespace mono::test;

constexpr MatmulVariant kVariants[] = {MatmulVariant::naive, MatmulVariant::smem_tiled,
                                       MatmulVariant::mma, MatmulVariant::cublaslt};

template <class T>
GpuArray<T> on_gpu(Stream stream, const GuardedArray<T>& values) {
  return GpuArray<T>(stream, std::span<const T>(values.data(), values.size()));
}

template <class A, class B, class Out>
GuardedArray<Out> run(MatmulVariant variant, DType compute, const MatmulCase& test) {
  const MatmulProblem& p = test.problem;
  const GpuStream stream;
  const auto a = on_gpu(stream, normal<A>(size_a(p), 1)),
             b = on_gpu(stream, normal<B>(size_b(p), 2));
  const auto bias = on_gpu(stream, normal<Master<Out>>(p.N, 3));
  const auto c = on_gpu(stream, normal<Out>(size_c(p), 4));
  const size_t bytes = matmul_workspace_bytes(variant, p, compute);
  const GpuArray<std::byte> workspace(stream, static_cast<int64_t>(bytes));
  matmul<A, B, Out>(stream, variant, p, compute,
                    {a.data(), b.data(), test.bias ? bias.data() : nullptr, c.data(),
                     test.accumulate ? GradMode::accumulate : GradMode::overwrite},
                    {workspace.data(), bytes});
  const std::vector<Out> values = c.host();
  GuardedArray<Out> result(size_c(p));
  std::copy(values.begin(), values.end(), result.data());
  return result;
}

// Small products under every schedule, which must not change a bit; others under one each.
template <class A, class B, class Out>
void check(DType compute, const MatmulCase& test, std::span<const MatmulVariant> variants) {
  const GuardedArray<double> truth = oracle<double, double>(test);
  const double plain = relative_error(oracle<Master<Out>, Out>(test), truth);
  for (MatmulVariant variant : variants) {
    if (!matmul_supports(kGpu, variant, test.problem, compute)) continue;
    GuardedArray<Out> first(0);
    const auto once = [&] {
      SCOPED_TRACE(fmt::format("{} {}: {} {} -> {}, {}", name_of(variant), name_of(compute),
                               name_of(kDTypeOf<A>), name_of(kDTypeOf<B>), name_of(kDTypeOf<Out>),
                               test.problem.to_string()));
      const GuardedArray<Out> c = run<A, B, Out>(variant, compute, test);
      EXPECT_LE(relative_error(c, truth), 2 * plain + kErrorFloor<Out>);
      if (first.size() == 0) first = c;
      EXPECT_TRUE(c == first);
    };
    test.problem.flops() < 5e4 ? for_each_schedule(once) : for_one_schedule(once);
  }
}

void check_types(const MatmulCase& test) {
  check<double, double, double>(DType::f64, test, kVariants);
  check<float, float, float>(DType::f32, test, kVariants);
  check<bf16, bf16, bf16>(DType::bf16, test, kVariants);
  check<bf16, float, bf16>(DType::bf16, test, kVariants);
  check<float, bf16, float>(DType::bf16, test, kVariants);
}

TEST(MatmulGpu, AgreesWithTheOracle) {
  for (const MatmulCase& test : kMatmulCases) check_types(test);
}

// Few tiles and a long sum, which is split among blocks; in every storage order.
TEST(MatmulGpu, SplitSumsAgreeWithTheOracle) {
  for (bool transpose_a : {false, true})
    for (bool transpose_b : {false, true}) {
      const MatmulCase test{{9, 70, 518, transpose_a, transpose_b}, transpose_a, transpose_b};
      check<float, float, float>(DType::f32, test, kVariants);
      check<bf16, float, bf16>(DType::bf16, test, kVariants);
    }
}

// C with enough tiles for the large ones.
TEST(MatmulGpu, LargeTilesAgreeWithTheOracle) {
  const MatmulVariant mma[] = {MatmulVariant::mma};
  check<bf16, bf16, float>(DType::bf16, {{16300, 5, 3, true, true}}, mma);
}

TEST(MatmulGpu, OperandsOfABf16ProductAreRounded) {
  const float one_and_a_bit = 1.0f + 0x1p-12f;  // 1 in bf16
  for_each_schedule([&] {
    for (MatmulVariant variant : kVariants) {
      const MatmulProblem problem{1, 1, 1};
      if (!matmul_supports(kGpu, variant, problem, DType::bf16)) continue;
      const GpuStream stream;
      const GpuArray<float> x(stream, std::vector<float>{one_and_a_bit}), c(stream, 1);
      const size_t bytes = matmul_workspace_bytes(variant, problem, DType::bf16);
      const GpuArray<std::byte> workspace(stream, static_cast<int64_t>(bytes));
      matmul<float, float, float>(stream, variant, problem, DType::bf16,
                                  {x.data(), x.data(), nullptr, c.data()},
                                  {workspace.data(), bytes});
      EXPECT_EQ(c.host()[0], 1.0f) << name_of(variant);
    }
  });
}

TEST(MatmulGpu, RejectsAVariantOfTheOtherDevice) {
  for_each_schedule([] {
    const GpuStream stream;
    const GpuArray<float> x(stream, 1);
    const Matmul<float, float, float> args{x.data(), x.data(), nullptr, x.data()};
    EXPECT_THROW((matmul(stream, MatmulVariant::reference, {1, 1, 1}, DType::f32, args, {})),
                 Error);
    EXPECT_THROW((matmul(MatmulVariant::naive, {1, 1, 1}, DType::f32, args, {})), Error);
    EXPECT_THROW((matmul(stream, MatmulVariant::naive, {1, 1, 0}, DType::f32, args, {})), Error);
  });
}

#ifdef MONO_CUDA
// The library is there to be opened, and what fails is named.
TEST(MatmulGpu, CublasLtWithoutAGpuSaysSo) {
  if (gpu::properties()) GTEST_SKIP() << "there is a GPU";
  float x = 0;
  try {
    matmul_cublaslt(Stream{kGpu}, {1, 1, 1, false, false, 1, 1, 1},
                    {&x, &x, nullptr, &x, DType::f32, DType::f32, false}, {});
    FAIL() << "there is no GPU";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("cudaGetDevice"), std::string::npos) << e.what();
  }
}
#endif

}  // namespace
}  // namespace mono
