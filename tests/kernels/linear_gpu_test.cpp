// Linear layers with prologue and epilogue on the GPU against the definition on the CPU.
#include "kernels/linear/linear.h"
#include "tests/kernels/linear_cases.h"

namespace mono {
namespace {

using namespace test;

constexpr auto kNorm = LinearPrologue::layer_norm;
constexpr auto kGelu = LinearPrologue::gelu;

const LinearCase kCases[] = {
    {{.rows = 1, .in = 1, .out = 1}},
    {{.rows = 7, .in = 31, .out = 33, .prologue = kNorm}},
    {{.rows = 33, .in = 7, .out = 65, .prologue = kGelu}, true, true},
    {{.rows = 64, .in = 64, .out = 96, .prologue = kNorm}, true, false, false, true},
    {{.rows = 34, .in = 48, .out = 64, .prologue = kGelu, .rows_per_keep = 17}, false, true, true},
    {{.rows = 34, .in = 64, .out = 24, .rows_per_keep = 17}, true, true, true, true},
};

template <class T>
class LinearGpu : public ::testing::Test {};
TYPED_TEST_SUITE(LinearGpu, ActivationTypes);

TYPED_TEST(LinearGpu, EveryVariantIsTheDefinition) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const LinearCase& c : kCases) {
      SCOPED_TRACE(name_of(c));
      const LinearResult<double> truth = LinearRun<double>(c).on_cpu(LinearVariant::reference);
      const LinearRun<T> run(c);
      const LinearResult<T> plain = run.on_cpu(LinearVariant::reference);
      for (const LinearVariant variant : {LinearVariant::reference, LinearVariant::composed}) {
        SCOPED_TRACE(name_of(variant));
        expect_close<T>(run.on_gpu(variant), plain, truth);
      }
    }
  });
}

}  // namespace
}  // namespace mono
