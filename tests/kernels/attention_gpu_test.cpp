// Every variant of attention on the GPU against the definition (attention_cases.h).
#include "kernels/attention/attention.h"

#include "tests/kernels/attention_cases.h"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;

constexpr AttentionVariant kVariants[] = {AttentionVariant::naive, AttentionVariant::flash,
                                          AttentionVariant::flash_mma};

template <class T>
class AttentionGpu : public ::testing::Test {};
TYPED_TEST_SUITE(AttentionGpu, ActivationTypes);

// What is quick on the emulator runs under every schedule, the rest under one each.
bool is_quick(AttentionVariant variant, const AttentionProblem& p) {
  const double cost = variant == AttentionVariant::flash_mma ? 0.25 : 1;  // of its operations
#ifdef MONO_SANITIZED
  return cost * p.flops(AttentionPass::forward) < 6e4;
#else
  return cost * p.flops(AttentionPass::forward) < 3e5;
#endif
}

TYPED_TEST(AttentionGpu, AgreesWithTheDefinition) {
  using T = TypeParam;
  for (const AttentionProblem& p : kAttentionCases) {
    const auto truth = attention_definition<double, double>(p);
    const auto plain = attention_definition<Master<T>, T>(p);
    for (const AttentionVariant variant : kVariants) {
      if (!attention_supports(kGpu, variant, p, kDTypeOf<T>)) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(variant), p.to_string()));
      AttentionResult<T> first;
      const auto once = [&] {
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
      };
      is_quick(variant, p) ? for_each_schedule(once) : for_one_schedule(once);
    }
  }
}

// Inference: no lse, the same result; and a number that is none reaches all that depends on it.
TEST(AttentionGpuForward, WithoutLseAndWithNaN) {
  using T = bf16;
  const AttentionProblem p{.N = 1, .T = 67, .heads = 1, .head_dim = 16};
  AttentionInputs<T> in(p);
  in.qkv[48 * 66 + 3] = from_double<T>(std::nan(""));  // q of the last token
  for_each_schedule([&] {
    const GpuStream stream;
    const GpuArray<T> qkv(stream, in.qkv);
    for (const AttentionVariant variant : kVariants) {
      SCOPED_TRACE(name_of(variant));
      const GpuArray<T> with(stream, int64_t{67} * 16), without(stream, int64_t{67} * 16);
      const GpuArray<float> lse(stream, 67);
      attention_forward<T>(stream, variant, p, {qkv.data(), with.data(), lse.data()}, {});
      attention_forward<T>(stream, variant, p, {qkv.data(), without.data(), nullptr}, {});
      const std::vector<T> out = with.host();
      EXPECT_TRUE(same_bits(out, without.host()));
      for (int64_t i = 0; i < 67 * 16; ++i) EXPECT_EQ(std::isnan(to_double(out[i])), i >= 66 * 16);
      EXPECT_TRUE(std::isnan(lse.host()[66]));
    }
  });
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
    const GpuArray<bf16> y(stream, 64);
    EXPECT_THROW(attention_forward<bf16>(stream, AttentionVariant::flash_mma, good,
                                         {y.data() + 1, y.data() + 32, nullptr}, {}),
                 Error);  // not aligned
    AttentionProblem pitched = good;
    pitched.ld_qkv = 25;
    EXPECT_FALSE(attention_supports(kGpu, AttentionVariant::flash_mma, pitched, DType::bf16));
    EXPECT_EQ(attention_choose(kGpu, pitched, DType::bf16), AttentionVariant::flash);
  });
}

}  // namespace
}  // namespace mono
