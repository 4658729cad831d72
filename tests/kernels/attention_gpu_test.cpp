// Every variant of attention on the GPU against the definition (attention_cases.h).
#include "kernels/attention/attention.h"

#include "tests/kernels/attention_cases.h"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;

constexpr AttentionVariant kVariants[] = {AttentionVariant::naive};

template <class T>
class AttentionGpu : public ::testing::Test {};
TYPED_TEST_SUITE(AttentionGpu, ActivationTypes);

// Under every schedule the same bits.
TYPED_TEST(AttentionGpu, AgreesWithTheDefinition) {
  using T = TypeParam;
  for (const AttentionProblem& p : kAttentionCases) {
    const auto truth = attention_definition<double, double>(p);
    const auto plain = attention_definition<Master<T>, T>(p);
    for (const AttentionVariant variant : kVariants) {
      if (!attention_supports(kGpu, variant, p, kDTypeOf<T>)) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(variant), p.to_string()));
      AttentionResult<T> first;
      for_each_schedule([&] {
        const GpuStream stream;
        const auto result = run_attention<GpuArray, T>(stream, variant, p);
        if (first.out.empty()) {
          expect_attention(result, plain, truth);
          first = result;
        }
        EXPECT_TRUE(same_bits(result.out, first.out));
        EXPECT_TRUE(same_bits(result.lse, first.lse));
        EXPECT_TRUE(same_bits(result.dqkv, first.dqkv));
        EXPECT_TRUE(same_bits(result.sum, first.sum));
      });
    }
  }
}

TEST(AttentionGpuErrors, WhatCannotBe) {
  for_each_schedule([] {
    const GpuStream stream;
    const GpuArray<float> x(stream, 64);
    const auto forward = [&](AttentionVariant variant, const AttentionProblem& p) {
      attention_forward<float>(stream, variant, p, {x.data(), x.data(), nullptr}, {});
    };
    const AttentionProblem good{.N = 1, .T = 1, .heads = 1, .head_dim = 8};
    EXPECT_THROW(forward(AttentionVariant::reference, good), Error);
    EXPECT_THROW(forward(AttentionVariant::naive, {.N = 1, .T = 1, .heads = 1, .head_dim = 12}),
                 Error);
  });
}

}  // namespace
}  // namespace mono
