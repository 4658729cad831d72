// GELU on the GPU against the CPU's.
#include "kernels/gelu/gelu.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class T>
class GeluGpu : public ::testing::Test {};
TYPED_TEST_SUITE(GeluGpu, ActivationTypes);

TYPED_TEST(GeluGpu, MatchesTheCpu) {
  using T = TypeParam;
  for_each_schedule([] {
    for (const int64_t n : {1, 7, 33, 1024, 3001})
      for (const int64_t offset : {0, 1}) {  // 1: not aligned for packs
        const GpuStream stream;
        const int64_t count = n + offset;
        const std::vector<T> x = normal_values<T>(count, 1, 0, 2), dy = normal_values<T>(count, 2);
        std::vector<T> y(x), dx(count), sum = normal_values<T>(count, 3);
        const GpuArray<T> gpu_x(stream, x), gpu_dy(stream, dy), gpu_y(stream, y),
            gpu_dx(stream, dx), gpu_sum(stream, sum);
        const auto work = [n, offset](Stream on, const T* in, const T* gradient, T* out, T* into,
                                      T* onto) {
          gelu_forward<T>(on, n, in + offset, out + offset);
          gelu_backward<T>(on, n, gradient + offset, in + offset, into + offset,
                           GradMode::overwrite);
          gelu_backward<T>(on, n, gradient + offset, in + offset, onto + offset,
                           GradMode::accumulate);
        };
        work(Stream{}, x.data(), dy.data(), y.data(), dx.data(), sum.data());
        work(stream, gpu_x.data(), gpu_dy.data(), gpu_y.data(), gpu_dx.data(), gpu_sum.data());
        expect_near("y", gpu_y.host(), y);
        expect_near("dx", gpu_dx.host(), dx);
        expect_near("accumulated", gpu_sum.host(), sum);
      }
  });
}

}  // namespace
}  // namespace mono
