// kernels/base/gpu.h: copies, fills, events between streams, graphs; without a GPU the reason.
#include "kernels/base/gpu.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "kernels/base/error.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;
using ::testing::Each;
using ::testing::HasSubstr;

TEST(Gpu, CopiesThereAndBack) {
  for_each_schedule([] {
    const GpuStream stream;
    std::vector<int> values(1000);
    std::iota(values.begin(), values.end(), 0);
    const GpuArray<int> first(stream, values), second(stream, 1000);
    gpu::copy(second.data(), first.data(), 4000, stream);
    EXPECT_EQ(second.host(), values);
    gpu::fill(second.data(), 0x01, 4000, stream);
    EXPECT_THAT(second.host(), Each(0x01010101));
  });
}

TEST(Gpu, AnEventOrdersTwoStreams) {
  for_each_schedule([] {
    const GpuStream first, second;
    const int n = 5000;
    const GpuArray<float> x(first, std::vector<float>(n, 1.0f)), y(first, n), z(second, n);
    const gpu::Event event = gpu::create_event();
    add<float>(first, n, x.data(), x.data(), y.data());
    gpu::record(event, first);
    gpu::wait(second, event);
    add<float>(second, n, y.data(), y.data(), z.data());
    gpu::synchronize(event);
    EXPECT_THAT(z.host(), Each(4.0f));
    gpu::destroy_event(event);
  });
}

TEST(Gpu, AGraphRepeatsWhatWasRecorded) {
  for_each_schedule([] {
    const GpuStream stream;
    const int n = 100;
    const GpuArray<float> x(stream, std::vector<float>(n, 1.0f)),
        sum(stream, std::vector<float>(n, 0.0f)), other(stream, n);
    add<float>(stream, n, x.data(), x.data(), other.data());  // loads the kernel, before recording
    gpu::begin_capture(stream);
    add<float>(stream, n, sum.data(), x.data(), sum.data());
    add<float>(stream, n, sum.data(), x.data(), sum.data());
    const gpu::Graph graph = gpu::end_capture(stream);
    EXPECT_THAT(sum.host(), Each(0.0f)) << "recording runs nothing";
    for (int i = 0; i < 3; ++i) gpu::replay(graph, stream);
    EXPECT_THAT(sum.host(), Each(6.0f));
    gpu::destroy_graph(graph);
  });
}

// Whoever uses a GPU that is not there learns which call failed and why.
TEST(Gpu, WithoutOneErrorsNameTheCallAndTheReason) {
  std::string why;
  if (gpu::properties(&why)) GTEST_SKIP() << "there is one: " << gpu::properties()->name;
  EXPECT_FALSE(why.empty());
  try {
    gpu::create_stream();
    FAIL() << "a stream of a GPU that is not there";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::device);
    EXPECT_THAT(e.what(), HasSubstr("cudaStreamCreateWithFlags"));
    EXPECT_THAT(e.what(), HasSubstr("(cudaError"));
  }
  try {
    float nothing = 0;
    add<float>(Stream{kGpu, nullptr}, 1, &nothing, &nothing, &nothing);
    FAIL() << "a launch without a GPU";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::device);
    EXPECT_THAT(e.what(), HasSubstr("add_kernel<float"));
  }
  gpu::release(nullptr);  // gives back nothing, throws nothing
}

}  // namespace
}  // namespace mono
