// How fast the emulator is; not run by default:
//   build/cpu/tests/kernels_tests --gtest_also_run_disabled_tests --gtest_filter='SimtSpeed*'
#include <chrono>
#include <cstdio>

#include "kernels/simt/instructions.cuh"
#include "kernels/simt/simt.cuh"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;

template <int>
__global__ void add_one_kernel(float* x) {
  x[blockIdx.x * blockDim.x + threadIdx.x] += 1;
}
template <int>
__global__ void barriers_kernel(int n) {
  for (int i = 0; i < n; ++i) __syncthreads();
}
template <int>
__global__ void shuffles_kernel(float* x, int n) {
  float value = x[threadIdx.x];
  for (int i = 0; i < n; ++i) value = __shfl_xor_sync(0xffffffffu, value, 1);
  x[threadIdx.x] = value;
}
template <int>
__global__ void products_kernel(float* x, int n) {
  float d[4] = {};
  const uint32_t a[4] = {threadIdx.x, 0, 1, 2}, b[2] = {3, 4};
  for (int i = 0; i < n; ++i) mma_m16n8k16_bf16(d, a, b);
  x[threadIdx.x] = d[0] + d[3];
}

template <auto Kernel, class... Args>
double seconds(const LaunchShape& shape, Args... args) {
  const GpuStream stream;
  double best = 1e9;
  for (int repeat = 0; repeat < 5; ++repeat) {
    const auto begin = std::chrono::steady_clock::now();
    launch<Kernel>(stream, shape, args...);
    stream.synchronize();
    best = std::min(
        best, std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  return best;
}

TEST(SimtSpeed, DISABLED_Figures) {
  const GpuStream stream;
  const GpuArray<float> x(stream, std::vector<float>(1 << 18));
  const uint64_t before = simt::switches();
  const double add = seconds<add_one_kernel<0>>({1024, 256}, x.data());
  const double barrier = seconds<barriers_kernel<0>>({8, 256}, 100);
  const double shuffle = seconds<shuffles_kernel<0>>({8, 32}, x.data(), 10'000);
  const double product = seconds<products_kernel<0>>({1, 32}, x.data(), 5000);
  std::printf(
      "%.1f M threads/s; %.1f ns a thread at a barrier; %.1f ns a lane in a shuffle; "
      "%.2f GFLOP/s in mma; %.0f M switches\n",
      1024 * 256 / add * 1e-6, barrier / (8 * 256 * 100) * 1e9, shuffle / (8 * 32 * 10'000) * 1e9,
      5000 * 2 * 16 * 8 * 16 / product * 1e-9,
      static_cast<double>(simt::switches() - before) * 1e-6);
  EXPECT_GT(simt::switches(), before);
}

}  // namespace
}  // namespace mono
