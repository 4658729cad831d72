// Linear layers with prologue and epilogue on the CPU: every variant against the definition in f64,
// which the gradients of tests/nn/functional/linear_test.cpp check against differences.
#include "kernels/linear/linear.h"

#include "tests/kernels/linear_cases.h"

namespace mono {
namespace {

using namespace test;

constexpr auto kNone = LinearPrologue::none;
constexpr auto kNorm = LinearPrologue::layer_norm;
constexpr auto kGelu = LinearPrologue::gelu;

const LinearCase kCases[] = {
    {{.rows = 1, .in = 1, .out = 1}},
    {{.rows = 7, .in = 31, .out = 33, .prologue = kNorm}},
    {{.rows = 33, .in = 7, .out = 130, .prologue = kGelu}, true, true},
    {{.rows = 64, .in = 64, .out = 96, .prologue = kNorm}, true, false, false, true},
    {{.rows = 64, .in = 64, .out = 96, .rows_per_keep = 16}, true, true, true, true},
    {{.rows = 102, .in = 96, .out = 64, .prologue = kGelu, .rows_per_keep = 17}, false, true, true},
    {{.rows = 102, .in = 49, .out = 200, .prologue = kNorm, .rows_per_keep = 17}, true, true, true},
    {{.rows = 197, .in = 384, .out = 48, .prologue = kNorm}},
    {{.rows = 197, .in = 48, .out = 416, .prologue = kGelu}, true, false, false, true},
    {{.rows = 2100, .in = 33, .out = 18, .prologue = kGelu}, true, true},  // two chunks of rows
};

template <class T>
class Linear : public ::testing::Test {};
TYPED_TEST_SUITE(Linear, ActivationTypes);

TYPED_TEST(Linear, EveryVariantIsTheDefinition) {
  using T = TypeParam;
  for (const LinearCase& c : kCases) {
    SCOPED_TRACE(name_of(c));
    const LinearResult<double> truth = LinearRun<double>(c).on_cpu(LinearVariant::reference);
    const LinearRun<T> run(c);
    const LinearResult<T> plain = run.on_cpu(LinearVariant::reference);
    for (const LinearVariant variant : {LinearVariant::composed, LinearVariant::fused}) {
      SCOPED_TRACE(name_of(variant));
      expect_close<T>(run.on_cpu(variant), plain, truth);
    }
  }
}

TYPED_TEST(Linear, HasTheSameBitsForAnyNumberOfThreads) {
  using T = TypeParam;
  for (const LinearCase& c : {kCases[2], kCases[4], kCases[7]}) {
    const LinearRun<T> run(c);
    for (const LinearVariant variant : {LinearVariant::composed, LinearVariant::fused})
      same_for_any_threads([&] { return all_of(run.on_cpu(variant)); });
  }
}

// Rows are computed alike wherever they lie: a batch's neighbours change nothing.
TEST(LinearRows, DoNotDependOnTheBatch) {
  constexpr int kRows = 130;
  const LinearCase c{{.rows = kRows, .in = 64, .out = 96, .prologue = kGelu}};
  const LinearCase first{{.rows = 64, .in = 64, .out = 96, .prologue = kGelu}};
  const auto whole = LinearRun<bf16>(c).on_cpu(LinearVariant::fused).y;
  auto part = LinearRun<bf16>(first).on_cpu(LinearVariant::fused).y;
  EXPECT_TRUE(same_bits(part, std::vector<bf16>(whole.begin(), whole.begin() + 64 * 96)));
}

TEST(LinearErrors, NameTheProblem) {
  const LinearProblem empty{.rows = 0, .in = 1, .out = 1};
  EXPECT_THROW(linear_supports(Device::cpu, LinearVariant::fused, empty, DType::f32), Error);
  const LinearProblem p{.rows = 1, .in = 1, .out = 1, .prologue = kNorm};
  float one = 1;
  EXPECT_THROW(linear_forward<float>(Stream{}, LinearVariant::fused, p,
                                     {.x = &one, .w = &one, .y = &one}, {}),
               Error);  // no gamma
  EXPECT_FALSE(linear_supports(kGpu, LinearVariant::fused, p, DType::f32));
}

}  // namespace
}  // namespace mono
