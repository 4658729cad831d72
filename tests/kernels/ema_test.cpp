#include "kernels/ema/ema.h"

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

template <class M>
class EmaKernel : public ::testing::Test {};
using MasterTypes = ::testing::Types<float, double>;
TYPED_TEST_SUITE(EmaKernel, MasterTypes);

TYPED_TEST(EmaKernel, MatchesTheFormula) {
  using M = TypeParam;
  for (int64_t n : {1, 31, 33, 40000})
    for (double beta : {0.0, 0.9, 0.9996, 1.0}) {
      const std::vector<M> teacher = normal_values<M>(n, 1), student = normal_values<M>(n, 2);
      Guarded<M> got(n);
      std::copy(teacher.begin(), teacher.end(), got.data());
      std::vector<M> plain(n);
      std::vector<double> want(n);
      for (int64_t i = 0; i < n; ++i) {
        plain[i] = teacher[i] * static_cast<M>(beta) + static_cast<M>(1 - beta) * student[i];
        want[i] = to_double(teacher[i]) * beta + (1 - beta) * to_double(student[i]);
      }
      ema_update<M>(Stream{}, n, &beta, got.data(), student.data());
      expect_close("teacher", got.copy(), plain, want);
      EXPECT_TRUE(beta != 1 || same_bits(got.copy(), teacher));
      EXPECT_TRUE(beta != 0 || same_bits(got.copy(), student));
    }
}

TYPED_TEST(EmaKernel, AnyNumberOfThreadsGivesTheSameBits) {
  using M = TypeParam;
  const int64_t n = 100001;
  const std::vector<M> student = normal_values<M>(n, 2);
  same_for_any_threads([&] {
    std::vector<M> teacher = normal_values<M>(n, 1);
    const double beta = 0.996;
    ema_update<M>(Stream{}, n, &beta, teacher.data(), student.data());
    return teacher;
  });
}

}  // namespace
}  // namespace mono
