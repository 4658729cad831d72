// NCCL as one rank on one GPU, for which it starts no kernel. What it may do to a rank:
// non_blocking_nccl_test.cpp; on several GPUs:
// ManyRanks.NcclAddsUpOnTheGpus (communicator_test.cpp) under mpirun. What buckets and hooks do
// with a communicator: gradient_reducer_test.cpp.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "kernels/base/gpu.h"
#include "kernels/base/philox.h"
#include "kernels/base/shared_library.h"
#include "runtime/communicator.h"
#include "tests/runtime/fake_ranks.h"

namespace mono {
namespace {

using testing::HasSubstr;

TEST(Nccl, ABuildOrMachineWithoutItSaysSo) {
  std::string why;
  if (kGpu == Device::cuda && gpu::properties(&why)) GTEST_SKIP() << "there is a GPU";
  try {
    nccl_over(single_process());
    FAIL() << "made a communicator of nothing";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    if (kGpu != Device::cuda) {
      EXPECT_THAT(error.what(), HasSubstr("ranks.gpu_sums = \"mpi\""));
    }
  }
}

// A GPU and the library, or the reason why there is none.
std::string why_no_nccl() {
  if (kGpu != Device::cuda) return "this build has no CUDA";
  std::string why;
  if (!gpu::properties(&why)) return "no GPU: " + why;
  try {
    SharedLibrary("libnccl.so.2");
  } catch (const Error& error) {
    return error.what();
  }
  return "";
}

class NcclDevice : public testing::Test {
 protected:
  void SetUp() override {
    if (const std::string why = why_no_nccl(); !why.empty()) GTEST_SKIP() << why;
  }
};

TEST_F(NcclDevice, OneRankKeepsWhatItHas) {
  const std::unique_ptr<Communicator> nccl = nccl_over(single_process());
  EXPECT_EQ(nccl->size(), 1);
  for (const DType dtype : {DType::f32, DType::f64, DType::bf16}) {
    const Tensor host = Tensor::empty({1003}, dtype);
    Philox random(1, Purpose::test);
    dispatch_activation(dtype, [&]<class T>() {
      for (T& v : host.span<T>()) v = static_cast<T>(static_cast<float>(random.normal()));
    });
    const Tensor piece = host.to(kGpu);
    nccl->start_sum(piece);
    nccl->finish_sums();
    const Tensor sum = piece.to(Device::cpu);
    EXPECT_EQ(std::memcmp(sum.raw(), host.raw(), static_cast<size_t>(host.bytes())), 0)
        << name_of(dtype);
  }
}

// As far as the other one says: refused before NCCL hangs or says "invalid usage".
TEST_F(NcclDevice, TwoRanksOnOneGpuAreRefused) {
  test::FakeRanks ranks(2);
  try {
    nccl_over(ranks);
    FAIL() << "two ranks on one GPU";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    EXPECT_THAT(error.what(), HasSubstr("ranks 0 and 1 both compute on GPU"));
  }
}

}  // namespace
}  // namespace mono
