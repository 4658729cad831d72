// Every variant of attention on the CPU against the definition, and the definition's gradients
// against finite differences.
#include "kernels/attention/attention.h"

#include "tests/kernels/attention_cases.h"

namespace mono {
namespace {

using namespace test;

constexpr AttentionVariant kVariants[] = {AttentionVariant::reference, AttentionVariant::blocked,
                                          AttentionVariant::amx};

// Memory of the host with the constructor of a device's array; checks its guards when it goes.
template <class T>
class HostArray {
 public:
  HostArray(Stream, const std::vector<T>& values) : array_(static_cast<int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), array_.data());
  }
  ~HostArray() { EXPECT_TRUE(array_.intact()) << "written outside"; }
  T* data() const { return array_.data(); }
  std::vector<T> host() const { return {array_.data(), array_.data() + array_.size()}; }

 private:
  mutable GuardedArray<T> array_;
};

template <class T>
class Attention : public ::testing::Test {};
TYPED_TEST_SUITE(Attention, ActivationTypes);

TYPED_TEST(Attention, AgreesWithTheDefinitionForAnyNumberOfThreads) {
  using T = TypeParam;
  for (const AttentionProblem& p : kAttentionCases) {
    const auto truth = attention_definition<double, double>(p);
    const auto plain = attention_definition<Master<T>, T>(p);
    for (const AttentionVariant variant : kVariants) {
      if (!attention_supports(Device::cpu, variant, p, kDTypeOf<T>)) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(variant), p.to_string()));
      AttentionResult<T> first;
      for (const int count : {1, 2, 3}) {
        const Threads threads(count);
        const auto result = run_attention<HostArray, T>(Stream{}, variant, p);
        if (count == 1) {
          expect_attention(result, plain, truth);
          first = result;
          continue;
        }
        EXPECT_TRUE(same_bits(result.out, first.out)) << count << " threads";
        EXPECT_TRUE(same_bits(result.lse, first.lse)) << count << " threads";
        EXPECT_TRUE(same_bits(result.dqkv, first.dqkv)) << count << " threads";
        EXPECT_TRUE(same_bits(result.sum, first.sum)) << count << " threads";
      }
    }
  }
}

TEST(AttentionDefinition, ItsGradientsAreDifferenceQuotients) {
  const AttentionProblem p{.N = 1, .T = 5, .heads = 2, .head_dim = 8};
  AttentionInputs<double> in(p);
  const std::vector<double> gradient = attention_definition<double, double>(p).dqkv;
  std::vector<double> out(in.dout.size());
  const Scratch scratch(attention_workspace_bytes(AttentionVariant::reference,
                                                  AttentionPass::forward, p, DType::f64));
  const auto loss = [&] {
    attention_forward<double>(AttentionVariant::reference, p, {in.qkv.data(), out.data(), nullptr},
                              const_cast<Scratch&>(scratch).span());
    double sum = 0;
    for (size_t i = 0; i < out.size(); ++i) sum += out[i] * in.dout[i];
    return sum;
  };
  for (size_t i = 0; i < in.qkv.size(); i += 3) {
    const double before = in.qkv[i], h = 1e-5;
    in.qkv[i] = before + h;
    const double up = loss();
    in.qkv[i] = before - h;
    const double down = loss();
    in.qkv[i] = before;
    EXPECT_NEAR(gradient[i], (up - down) / (2 * h), 1e-7) << "element " << i;
  }
}

// Scores of +-10^4 are nothing special: the largest of a row is taken off first.
TYPED_TEST(Attention, LargeScoresStayFinite) {
  using T = TypeParam;
  using M = Master<T>;
  const AttentionProblem p{.N = 1, .T = 3, .heads = 1, .head_dim = 8};
  for (const AttentionVariant variant : kVariants) {
    if (!attention_supports(Device::cpu, variant, p, kDTypeOf<T>)) continue;
    SCOPED_TRACE(name_of(variant));
    std::vector<T> qkv(3 * 24, T(M(0))), out(24), dqkv(qkv.size());
    for (int t = 0; t < 3; ++t) {
      qkv[24 * t] = T(M(t == 1 ? -170 : 170));                         // q
      qkv[24 * t + 8] = T(M(t == 2 ? 170 : t));                        // k
      for (int c = 0; c < 8; ++c) qkv[24 * t + 16 + c] = T(M(t + 1));  // v
    }
    std::vector<M> lse(3);
    Scratch forward(attention_workspace_bytes(variant, AttentionPass::forward, p, kDTypeOf<T>));
    attention_forward<T>(variant, p, {qkv.data(), out.data(), lse.data()}, forward.span());
    const M score = M(170) * M(170) / std::sqrt(M(8));
    EXPECT_NEAR(lse[0], score, score * 1e-6);
    EXPECT_NEAR(lse[1], 0, 1e-6);
    EXPECT_EQ(to_double(out[0]), 3);  // the third key alone
    EXPECT_EQ(to_double(out[8]), 1);  // the first
    Scratch backward(attention_workspace_bytes(variant, AttentionPass::backward, p, kDTypeOf<T>));
    attention_backward<T>(variant, p, {qkv.data(), out.data(), out.data(), lse.data(), dqkv.data()},
                          backward.span());
    for (const T value : dqkv) EXPECT_TRUE(std::isfinite(to_double(value)));
    // dv of the third: 3 from each of two queries; lse of 10^4 has an error of 10^-3 in f32
    EXPECT_NEAR(to_double(dqkv[2 * 24 + 16]), 6, 6e-3);
  }
}

// A score that is not a number reaches what depends on it.
TYPED_TEST(Attention, NotANumberIsNotHidden) {
  using T = TypeParam;
  using M = Master<T>;
  const AttentionProblem p{.N = 1, .T = 20, .heads = 1, .head_dim = 16};
  for (const AttentionVariant variant : kVariants) {
    if (!attention_supports(Device::cpu, variant, p, kDTypeOf<T>)) continue;
    SCOPED_TRACE(name_of(variant));
    AttentionInputs<T> in(p);
    in.qkv[48 * 18 + 16 + 3] = from_double<T>(std::nan(""));  // k of token 18
    std::vector<T> out(in.dout.size());
    std::vector<M> lse(20);
    Scratch forward(attention_workspace_bytes(variant, AttentionPass::forward, p, kDTypeOf<T>));
    attention_forward<T>(variant, p, {in.qkv.data(), out.data(), lse.data()}, forward.span());
    for (const T value : out) EXPECT_TRUE(std::isnan(to_double(value)));
    for (const M value : lse) EXPECT_TRUE(std::isnan(value));
  }
}

TEST(AttentionErrors, WhatCannotBe) {
  const auto reference = AttentionVariant::reference;
  float x[64] = {};
  const auto forward = [&](AttentionVariant variant, const AttentionProblem& p) {
    attention_forward<float>(variant, p, {x, x, nullptr}, {});
  };
  EXPECT_THROW(forward(reference, {.N = 1, .T = 0, .heads = 1}), Error);
  EXPECT_THROW(forward(reference, {.N = 1, .T = 1, .heads = 1, .head_dim = 12}), Error);
  EXPECT_THROW(forward(reference, {.N = 1, .T = 1, .heads = 1, .head_dim = 136}), Error);
  EXPECT_THROW(forward(reference, {.N = 1, .T = 1, .heads = 1, .head_dim = 8, .ld_qkv = 23}),
               Error);
  EXPECT_THROW(forward(AttentionVariant::naive, {.N = 1, .T = 1, .heads = 1, .head_dim = 8}),
               Error);
  EXPECT_THROW(attention_forward<float>(reference, {.N = 1, .T = 1, .heads = 1}, {}, {}), Error);
  EXPECT_THROW(attention_backward<float>(reference, {.N = 1, .T = 1, .heads = 1}, {}, {}), Error);
}

}  // namespace
}  // namespace mono
