// SGD over runs of weight decay, one launch on the GPU, against the CPU's run by run.
#include "kernels/sgd/sgd.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class M>
class SgdGpu : public ::testing::Test {};
using MasterTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(SgdGpu, MasterTypes);

TYPED_TEST(SgdGpu, MatchesTheCpuOverRuns) {
  using M = TypeParam;
  for_each_schedule([] {
    const std::vector<std::vector<SgdRun>> tables = {
        {{0, 1, 1e-2}},
        {{0, 31, 0.0}},
        {{0, 1, 1e-2}, {1, 6, 0.0}, {6, 7, 0.5}, {7, 600, 1e-3}, {600, 2000, 0.0}},
        {{0, 64, 0.25}, {64, 192, 0.0}, {192, 1280, 0.125}},
    };
    for (const auto& table : tables)
      for (bool nesterov : {false, true}) {
        const GpuStream stream;
        const SgdProblem problem{.n = table.back().end,
                                 .lr = 0,
                                 .momentum = 0.9,
                                 .weight_decay = 0,
                                 .nesterov = nesterov};
        std::vector<M> w = normal_values<M>(problem.n, 1), m = normal_values<M>(problem.n, 2);
        const GpuArray<M> gpu_w(stream, w), gpu_m(stream, m);
        const GpuArray<SgdRun> gpu_runs(stream, table);
        const SgdRuns runs{static_cast<int>(table.size()), table.data(), gpu_runs.data()};
        const GpuArray<SgdRates> gpu_rates(stream, 1);
        for (int step = 0; step < 3; ++step) {
          const std::vector<M> g = normal_values<M>(problem.n, 10 + step);
          const GpuArray<M> gpu_g(stream, g);
          const SgdRates rates{0.1 / (1 + step), 0.25};
          gpu::copy(gpu_rates.data(), &rates, sizeof rates, stream);
          sgd_step<M>(Stream{}, problem, runs, &rates, w.data(), m.data(), g.data());
          sgd_step<M>(stream, problem, runs, gpu_rates.data(), gpu_w.data(), gpu_m.data(),
                      gpu_g.data());
          stream.synchronize();
        }
        // A CPU without fused multiply-add rounds more often.
        const double unit = std::is_same_v<M, double> ? 1e-13 : 0x1p-19;
        EXPECT_LE(error_of(gpu_w.host(), convert_to<double>(w)), unit);
        EXPECT_LE(error_of(gpu_m.host(), convert_to<double>(m)), unit);
      }
  });
}

// Each run has its own decay, and a step without gradients and momentum shows it.
TEST(SgdGpuRuns, DecayIsTheRuns) {
  for_each_schedule([] {
    const GpuStream stream;
    const std::vector<SgdRun> table{{0, 3, 0.5}, {3, 4, 0.0}, {4, 300, 0.25}};
    const GpuArray<SgdRun> gpu_runs(stream, table);
    const GpuArray<SgdRates> rates(stream, std::vector<SgdRates>{{0.5, 1.0}});
    const std::vector<float> zeros(300, 0.0f);
    const GpuArray<float> w(stream, std::vector<float>(300, 1.0f)), m(stream, zeros),
        g(stream, zeros);
    sgd_step<float>(stream, {.n = 300, .lr = 0, .momentum = 0.9, .weight_decay = 0},
                    {3, table.data(), gpu_runs.data()}, rates.data(), w.data(), m.data(), g.data());
    const std::vector<float> got = w.host();
    for (int i = 0; i < 300; ++i) EXPECT_EQ(got[i], i < 3 ? 0.75f : i < 4 ? 1.0f : 0.875f) << i;
  });
}

TEST(SgdRunsErrors, AGapIsRefused) {
  const SgdRates rates{0.1, 1.0};
  const SgdRun gap[] = {{0, 3, 0.0}, {4, 8, 0.0}}, shortened[] = {{0, 7, 0.0}};
  std::vector<float> w(8), m(8), g(8);
  const SgdProblem problem{.n = 8, .lr = 0, .momentum = 0.9, .weight_decay = 0};
  EXPECT_THROW(
      sgd_step<float>(Stream{}, problem, {2, gap, nullptr}, &rates, w.data(), m.data(), g.data()),
      Error);
  EXPECT_THROW(sgd_step<float>(Stream{}, problem, {1, shortened, nullptr}, &rates, w.data(),
                               m.data(), g.data()),
               Error);
}

}  // namespace
}  // namespace mono
