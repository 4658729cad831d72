// What can be asked of cuDNN without a GPU: which algorithms it would run on one.
#include "kernels/conv2d/conv2d_cudnn.h"

#include <gtest/gtest.h>

#ifdef MONO_CUDNN

#include "kernels/base/gpu.h"

namespace mono {
namespace {

using namespace conv2d_gpu;

// An H100 as cuDNN 9.19 serialises it.
const std::string kH100 = R"({
  "deviceName": "NVIDIA H100 80GB HBM3", "cudaDeviceId": 0, "pciDeviceId": 0, "deviceVer": 900,
  "driverVer": 13000, "multiProcessorCount": 132, "totalGlobalMem": 85520809984,
  "l2CacheSize": 52428800, "warpSize": 32, "maxGridSize": [2147483647, 65535, 65535],
  "maxBlockSize": [1024, 1024, 64], "maxThreadsPerBlock": 1024, "maxThreadsPerSM": 2048,
  "maxCtasPerSM": 32, "regsPerBlock": 65536, "maxRegistersPerSM": 65536,
  "maxSharedMemoryPerBlock": 49152, "maxSharedMemoryPerBlockOptin": 232448,
  "reservedSharedMemoryPerBlock": 1024, "smClockRateKHz": 1980000, "memClockRateKHz": 2619000,
  "isTccDriver": 0, "supportCoopLaunch": 1})";

// The convolutions of DenseNet-161 and ResNet-50, in kinds.
const std::vector<ConvProblem> kProblems = {
    {8, 14, 14, 96, 192, 1, 1},      {8, 14, 14, 192, 48, 3, 3, 1, 1},
    {8, 56, 56, 64, 64, 3, 3, 2, 1}, {4, 64, 64, 6, 96, 7, 7, 2, 3},
    {2, 28, 28, 512, 1024, 1, 1, 2}, {2, 7, 5, 33, 31, 3, 3, 1, 1},
};

TEST(Conv2dCudnn, HasDeterministicAlgorithmsForEveryPass) {
  if (!cudnn_found()) GTEST_SKIP() << "this machine has no cuDNN";
  try {
    cudnn_engines(ConvPass::fprop, kProblems[0], DType::f32, kH100);
  } catch (const Error& e) {
    if (std::string(e.what()).find("json") == std::string::npos) throw;
    GTEST_SKIP() << "this cuDNN knows other properties of a GPU than 9.19: " << e.what();
  }
  for (const ConvProblem& problem : kProblems)
    for (ConvPass pass : {ConvPass::fprop, ConvPass::dgrad, ConvPass::wgrad})
      for (DType dtype : {DType::f32, DType::bf16})
        EXPECT_FALSE(cudnn_engines(pass, problem, dtype, kH100).empty())
            << problem.to_string() << " pass " << static_cast<int>(pass) << " " << name_of(dtype);
}

TEST(Conv2dCudnn, ErrorsNameTheCallAndTheStatus) {
  if (!cudnn_found()) GTEST_SKIP() << "this machine has no cuDNN";
  try {
    cudnn_engines(ConvPass::fprop, kProblems[0], DType::f32, "{}");
    FAIL() << "no GPU has no properties";
  } catch (const Error& e) {
    EXPECT_NE(std::string(e.what()).find("cudnnBackendFinalize"), std::string::npos) << e.what();
    EXPECT_NE(std::string(e.what()).find("CUDNN_STATUS_BAD_PARAM"), std::string::npos) << e.what();
  }
}

TEST(Conv2dCudnn, WithoutAGpuSaysSo) {
  if (!cudnn_found()) GTEST_SKIP() << "this machine has no cuDNN";
  if (gpu::properties()) GTEST_SKIP() << "there is a GPU";
  EXPECT_TRUE(
      conv2d_supports(kGpu, ConvVariant::cudnn, ConvPass::fprop, kProblems[0], DType::bf16));
  EXPECT_THROW(kCudnn.workspace_bytes(ConvPass::fprop, kProblems[0], DType::bf16), Error);
}

}  // namespace
}  // namespace mono

#endif
