// AdamW over runs of groups, one launch on the GPU, against the CPU's; the clip factor.
#include "kernels/adamw/adamw.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class M>
class AdamWGpu : public ::testing::Test {};
using MasterTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(AdamWGpu, MasterTypes);

TYPED_TEST(AdamWGpu, MatchesTheCpuOverRuns) {
  using M = TypeParam;
  for_each_schedule([] {
    const std::vector<std::vector<AdamWRun>> tables = {
        {{0, 1, 1}},
        {{0, 31, 2}},
        {{0, 1, 1}, {1, 6, 0}, {6, 7, 2}, {7, 600, 1}, {600, 1300, 0}},
        {{0, 64, 0}, {64, 192, 2}, {192, 1280, 1}},
    };
    for (const auto& table : tables)
      for (bool decoupled : {true, false}) {
        const GpuStream stream;
        const AdamWProblem problem{.n = table.back().end, .beta1 = 0.8, .beta2 = 0.95, .eps = 1e-3};
        std::vector<M> w = normal_values<M>(problem.n, 1), m = normal_values<M>(problem.n, 2);
        std::vector<M> v(problem.n, M(0.5));
        const GpuArray<M> gpu_w(stream, w), gpu_m(stream, m), gpu_v(stream, v);
        const GpuArray<AdamWRun> gpu_runs(stream, table);
        const AdamWRuns runs{static_cast<int>(table.size()), table.data(), gpu_runs.data()};
        const double factor = 0.25;
        const GpuArray<double> gpu_factor(stream, std::vector<double>{factor});
        const GpuArray<AdamWRates> gpu_rates(stream, 3);
        for (int step = 1; step < 4; ++step) {
          const std::vector<M> g = normal_values<M>(problem.n, 10 + step);
          const GpuArray<M> gpu_g(stream, g);
          const AdamWRates rates[] = {
              adamw_rates(problem, 0.1, 0, decoupled, step),
              adamw_rates(problem, 0.1, 0.3, decoupled, step),
              step == 2 ? AdamWRates{} : adamw_rates(problem, 0.1, 0.1, decoupled, step)};
          gpu::copy(gpu_rates.data(), rates, sizeof rates, stream);
          adamw_step<M>(Stream{}, problem, runs, rates, &factor, w.data(), m.data(), v.data(),
                        g.data());
          adamw_step<M>(stream, problem, runs, gpu_rates.data(), gpu_factor.data(), gpu_w.data(),
                        gpu_m.data(), gpu_v.data(), gpu_g.data());
          stream.synchronize();
        }
        // A CPU without fused multiply-add rounds more often.
        const double unit = std::is_same_v<M, double> ? 1e-13 : 0x1p-19;
        EXPECT_LE(error_of(gpu_w.host(), convert_to<double>(w)), unit);
        EXPECT_LE(error_of(gpu_m.host(), convert_to<double>(m)), unit);
        EXPECT_LE(error_of(gpu_v.host(), convert_to<double>(v)), unit);
      }
  });
}

TEST(ClipFactorGpu, MatchesTheCpu) {
  for_each_schedule([] {
    const GpuStream stream;
    for (double squares : {0.0, 4.0, 100.0, 1e12, std::nan("")}) {
      const std::vector<double> scale{0.5}, values{squares};
      const GpuArray<double> gpu_scale(stream, scale), gpu_squares(stream, values);
      const GpuArray<ClippedNorm> gpu_result(stream, 1);
      ClippedNorm want{};
      clip_factor(Stream{}, 3.0, scale.data(), values.data(), &want);
      clip_factor(stream, 3.0, gpu_scale.data(), gpu_squares.data(), gpu_result.data());
      const ClippedNorm got = gpu_result.host()[0];
      EXPECT_EQ(std::isnan(got.factor), std::isnan(squares));
      if (std::isnan(squares)) continue;
      EXPECT_DOUBLE_EQ(got.norm, want.norm);
      EXPECT_DOUBLE_EQ(got.factor, want.factor);
    }
  });
}

}  // namespace
}  // namespace mono
