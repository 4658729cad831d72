#include "kernels/ema/ema.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class M>
class EmaGpu : public ::testing::Test {};
using MasterTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(EmaGpu, MasterTypes);

TYPED_TEST(EmaGpu, MatchesTheCpu) {
  using M = TypeParam;
  for_each_schedule([] {
    for (int64_t n : {1, 7, 64, 1000, 1031})
      for (int64_t shift : {0, 1}) {  // aligned and not
        const GpuStream stream;
        std::vector<M> teacher = normal_values<M>(n + shift, 1);
        const std::vector<M> student = normal_values<M>(n, 2);
        const GpuArray<M> gpu_teacher(stream, teacher), gpu_student(stream, student);
        const double beta = 0.996;
        const GpuArray<double> gpu_beta(stream, std::vector<double>{beta});
        ema_update<M>(Stream{}, n, &beta, teacher.data() + shift, student.data());
        ema_update<M>(stream, n, gpu_beta.data(), gpu_teacher.data() + shift, gpu_student.data());
        const double unit = std::is_same_v<M, double> ? 1e-15 : 0x1p-22;
        EXPECT_LE(error_of(gpu_teacher.host(), convert_to<double>(teacher)), unit);
      }
  });
}

}  // namespace
}  // namespace mono
