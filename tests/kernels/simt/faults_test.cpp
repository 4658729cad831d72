// Planted faults: kernels and host code that are wrong, each in one way, and what finds them.
// kernels/simt/README.md has the table.
//
// Most stop the launch with a message that names kernel, block, thread and line. Some show only as
// a wrong result under one of the schedules; a race is reported by ThreadSanitizer, memory errors
// by AddressSanitizer.
#include <gmock/gmock.h>

#include <cmath>

#include "kernels/base/bf16.h"
#include "kernels/base/error.h"
#include "kernels/simt/instructions.cuh"
#include "kernels/simt/simt.cuh"
#include "tests/kernels/gpu_test.h"

#if defined(__SANITIZE_ADDRESS__)
constexpr bool kAddressSanitizer = true;
#else
constexpr bool kAddressSanitizer = false;
#endif
#if defined(__SANITIZE_THREAD__)
constexpr bool kThreadSanitizer = true;
#else
constexpr bool kThreadSanitizer = false;
#endif

namespace mono {
namespace {

using namespace test;
using ::testing::AllOf;
using ::testing::ContainsRegex;
using ::testing::HasSubstr;

// The message of the Error(device) that f ends with when its stream is waited for.
template <class F>
std::string message_of(F&& f) {
  const GpuStream stream;
  try {
    f(Stream(stream));
    stream.synchronize();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::device);
    return error.what();
  }
  return "no error";
}

// The kernel stops with this message, its name, block, thread and (where a thread did it) line, in
// every order; the emulator works as before afterwards.
template <auto Kernel, class... Args>
void expect_fault(const LaunchShape& shape, const std::string& what, Args... args) {
  for_each_schedule([&] {
    const std::string message =
        message_of([&](Stream stream) { launch<Kernel>(stream, shape, args...); });
    EXPECT_THAT(message, AllOf(HasSubstr(what), HasSubstr(std::string(kernel_name<Kernel>())),
                               ContainsRegex("in block .0, 0, 0."),
                               ContainsRegex("faults_test.cpp:[0-9]+")));
  });
}

template <auto Kernel, class... Args>
std::vector<float> result_of(const LaunchShape& shape, int64_t n, Args... args) {
  const GpuStream stream;
  const GpuArray<float> out(stream, n);
  launch<Kernel>(stream, shape, out.data(), args...);
  return out.host();
}

// Runs f under every schedule: all give `right`, or (planted) some do not. What races does not run
// under ThreadSanitizer here: expect_race does it in a process of its own.
template <class F>
void expect_right(const std::vector<float>& right, F&& f) {
  for_each_schedule([&] { EXPECT_EQ(f(), right); });
}
template <class F>
void expect_wrong_somewhere(const std::vector<float>& right, F&& f) {
  if (kThreadSanitizer) return;
  int wrong = 0;
  for_each_schedule([&] { wrong += f() != right; });
  EXPECT_GT(wrong, 0);
}

// f, in a process of its own, makes ThreadSanitizer report a race (exit code 66). Without it
// nothing is tested here.
template <class F>
void expect_race(F&& f) {
  if (!kThreadSanitizer) return;
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_EXIT(
      {
        f();
        std::exit(0);
      },
      ::testing::ExitedWithCode(66), "data race");
}
// --- Barriers ------------------------------------------------------------------------------------

template <bool Barrier>
__global__ void neighbour_kernel(float* out) {
  using Row = float[64];
  MONO_SHARED(Row, row);
  row[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (Barrier) __syncthreads();
  out[threadIdx.x] = row[(threadIdx.x + 1) % 64];
}

TEST(SimtFaults, MissingBarrier) {
  std::vector<float> right(64);
  for (int i = 0; i < 64; ++i) right[i] = static_cast<float>((i + 1) % 64);
  expect_right(right, [] { return result_of<neighbour_kernel<true>>({1, 64}, 64); });
  expect_wrong_somewhere(right, [] { return result_of<neighbour_kernel<false>>({1, 64}, 64); });
  expect_race([] { result_of<neighbour_kernel<false>>({1, 64}, 64); });
}

template <int>
__global__ void skipped_barrier_kernel() {
  if (threadIdx.x != 7) __syncthreads();
  __syncthreads();
}
template <int>
__global__ void divergent_barriers_kernel() {
  if (threadIdx.x < 32)
    __syncthreads();
  else
    __syncthreads();
}

TEST(SimtFaults, AThreadSkipsABarrier) {
  expect_fault<skipped_barrier_kernel<0>>({1, 64}, "divergent __syncthreads");
}
TEST(SimtFaults, DivergentBarriers) {
  expect_fault<divergent_barriers_kernel<0>>({1, 64}, "divergent __syncthreads");
}

// Lanes of a warp that hand something on through shared memory need __syncwarp: a shuffle orders
// no memory.
template <bool Syncwarp>
__global__ void lanes_kernel(float* out) {
  using Row = float[32];
  MONO_SHARED(Row, row);
  row[threadIdx.x] = static_cast<float>(threadIdx.x);
  if constexpr (Syncwarp)
    __syncwarp();
  else
    __shfl_xor_sync(0xffffffffu, 1, 1);
  out[threadIdx.x] = row[31 - threadIdx.x];
}

TEST(SimtFaults, MissingSyncwarp) {
  std::vector<float> right(32);
  for (int i = 0; i < 32; ++i) right[i] = static_cast<float>(31 - i);
  expect_right(right, [] { return result_of<lanes_kernel<true>>({1, 32}, 32); });
  expect_race([] { result_of<lanes_kernel<false>>({1, 32}, 32); });
}

// --- Warp operations -----------------------------------------------------------------------------

template <int>
__global__ void skipped_shuffle_kernel() {
  if (threadIdx.x != 5) __shfl_xor_sync(0xffffffffu, 1.0f, 1);
  __syncthreads();
}
template <int>
__global__ void ended_before_kernel() {  // the block's barrier lets lane 5 end first in any order
  const bool ends = threadIdx.x == 5;
  __syncthreads();
  if (ends) return;
  __shfl_xor_sync(0xffffffffu, 1.0f, 1);
}
template <int>
__global__ void without_self_kernel() {
  __shfl_xor_sync(0xffffffffu & ~(1u << threadIdx.x), 1.0f, 1);
}
template <int>
__global__ void full_mask_kernel() {
  __ballot_sync(0xffffffffu, 1);
}
template <int>
__global__ void outside_kernel() {
  if (threadIdx.x < 16) __shfl_sync(0xffffu, 1.0f, 20);
}
template <int>
__global__ void two_operations_kernel() {
  if (threadIdx.x < 16)
    __shfl_xor_sync(0xffffffffu, 1, 1);
  else
    __ballot_sync(0xffffffffu, 1);
}
template <int>
__global__ void two_products_kernel() {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16)
    mma_m16n8k16_bf16(d, a, b);
  else
    mma_m16n8k16_bf16(d, a, b);
}

TEST(SimtFaults, ALaneSkipsAShuffle) {
  expect_fault<skipped_shuffle_kernel<0>>({1, 32}, "deadlock, 32 of 32 threads wait");
}
TEST(SimtFaults, ALaneThatIsNamedHasEnded) {
  for_each_schedule([] {
    const std::string message = message_of([](Stream stream) {
      launch<ended_before_kernel<0>>(stream, {1, 32});
    });
    EXPECT_THAT(message, ::testing::AnyOf(HasSubstr("names lane 5, which has ended"),
                                          HasSubstr("waits for it in __shfl_xor_sync")));
  });
}
TEST(SimtFaults, ALaneIsNotInItsOwnMask) {
  expect_fault<without_self_kernel<0>>({1, 32}, "is not in its own mask");
}
TEST(SimtFaults, TheMaskNamesAnAbsentLane) {
  expect_fault<full_mask_kernel<0>>({1, 16}, "names lane 16, but the warp has 16 threads");
}
TEST(SimtFaults, AShuffleReadsALaneOutsideOfTheMask) {
  expect_fault<outside_kernel<0>>({1, 32}, "which is not in the mask 0x0000ffff");
}
TEST(SimtFaults, LanesOfOneMaskInDifferentOperations) {
  expect_fault<two_operations_kernel<0>>({1, 32}, "of the same mask is in");
}
TEST(SimtFaults, LanesOfAnAlignedOperationInDifferentPlaces) {
  expect_fault<two_products_kernel<0>>({1, 32}, "of the same mask is in mma_m16n8k16_bf16");
}

// --- Asynchronous copies -------------------------------------------------------------------------

template <int Wait>  // 0: before the use; 1: after it; 2: never
__global__ void copy_kernel(float* out, const float* in) {
  using Row = float[4];
  MONO_SHARED(Row, row);
  cp_async<16>(row, in);
  cp_async_commit();
  if constexpr (Wait == 0) cp_async_wait<0>();
  for (int i = 0; i < 4; ++i) out[i] = row[i];
  if constexpr (Wait == 1) cp_async_wait<0>();
}

template <int>
__global__ void misaligned_copy_kernel(const char* in) {
  using Row = float[8];
  MONO_SHARED(Row, row);
  cp_async<16>(row, in + 4);
}
template <int>
__global__ void misaligned_rows_kernel() {
  using Rows = uint16_t[512];
  MONO_SHARED(Rows, rows);
  uint32_t r[4];
  ldmatrix_x4(r, rows + 8 * threadIdx.x + (threadIdx.x == 9));
}
template <int>
__global__ void rows_elsewhere_kernel(const uint16_t* rows) {
  uint32_t r[4];
  ldmatrix_x4(r, rows + 8 * threadIdx.x);
}

TEST(SimtFaults, ForgottenWait) {
  const std::vector<float> right{1, 2, 3, 4};
  const GpuStream stream;
  const GpuArray<float> in(stream, right);
  const float* const p = in.data();
  expect_right(right, [p] { return result_of<copy_kernel<0>>({1, 1}, 4, p); });
  expect_wrong_somewhere(right, [p] { return result_of<copy_kernel<1>>({1, 1}, 4, p); });
}
TEST(SimtFaults, CopyInFlightAtTheEnd) {
  for_each_schedule([] {
    EXPECT_THAT(message_of([](Stream stream) {
                  const GpuArray<float> in(stream, std::vector<float>(4)), out(stream, 4);
                  launch<copy_kernel<2>>(stream, {1, 1}, out.data(), in.data());
                  gpu::synchronize(stream);
                }),
                AllOf(HasSubstr("copies that nobody waited for"), HasSubstr("copy_kernel"),
                      HasSubstr("thread (0, 0, 0)")));
  });
}
TEST(SimtFaults, MisalignedCopy) {
  const GpuStream stream;
  const GpuArray<char> in(stream, 64);
  expect_fault<misaligned_copy_kernel<0>>({1, 1}, "is not aligned to that", in.data());
}
TEST(SimtFaults, MisalignedMatrixRow) {
  expect_fault<misaligned_rows_kernel<0>>({1, 32}, "the row of lane 9 at");
}
TEST(SimtFaults, MatrixRowsOutsideOfSharedMemory) {
  const GpuStream stream;
  const GpuArray<uint16_t> rows(stream, std::vector<uint16_t>(256));
  expect_fault<rows_elsewhere_kernel<0>>({1, 32}, "is not in shared memory", rows.data());
}

// A ring of two stages that is filled again before everybody has read it.
template <bool Barrier>
__global__ void pipeline_kernel(float* out, const float* in) {
  using Ring = float[2][128];
  MONO_SHARED(Ring, ring);
  const unsigned t = threadIdx.x;
  const auto fetch = [&](int stage) {
    cp_async<16>(&ring[stage % 2][4 * t], in + 128 * stage + 4 * t);
    cp_async_commit();
  };
  float sum = 0;
  fetch(0);
  fetch(1);
  for (int stage = 0; stage < 4; ++stage) {
    cp_async_wait<1>();
    __syncthreads();
    for (int i = 0; i < 4; ++i) sum += ring[stage % 2][(4 * t + 17 + i) % 128];
    if constexpr (Barrier) __syncthreads();
    if (stage < 2)
      fetch(stage + 2);
    else
      cp_async_commit();
  }
  out[t] = sum;
}

TEST(SimtFaults, AStageIsRefilledWhileItIsRead) {
  std::vector<float> in(512), right(32, 0.0f);
  for (int i = 0; i < 512; ++i) in[i] = static_cast<float>(i * i % 101);
  for (int t = 0; t < 32; ++t)
    for (int stage = 0; stage < 4; ++stage)
      for (int i = 0; i < 4; ++i) right[t] += in[128 * stage + (4 * t + 17 + i) % 128];
  const GpuStream stream;
  const GpuArray<float> device(stream, in);
  const float* const p = device.data();
  expect_right(right, [p] { return result_of<pipeline_kernel<true>>({1, 32}, 32, p); });
  expect_wrong_somewhere(right, [p] { return result_of<pipeline_kernel<false>>({1, 32}, 32, p); });
  expect_race([p] {
    simt::set_schedule(simt::test_schedules()[3]);  // copies at issue
    result_of<pipeline_kernel<false>>({1, 32}, 32, p);
  });
}

// --- Memory --------------------------------------------------------------------------------------

template <int>
__global__ void overrun_kernel(float* out, int n) {
  if (static_cast<int>(threadIdx.x) <= n) out[threadIdx.x] = 1;
}
template <int>
__global__ void shared_overrun_kernel(int at) {
  using Row = float[30];
  MONO_SHARED(Row, row);
  float* const p = row;
  p[at] = 1;
}
template <int>
__global__ void dynamic_overrun_kernel() {
  MONO_DYNAMIC_SHARED(float, row);
  row[32] = 1;
}

// In a sanitizer build the process dies at the access; else the fences tell afterwards.
template <class F>
void expect_overrun(F&& f, const std::string& message) {
  if (kAddressSanitizer) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(message_of(f), "use-after-poison|AddressSanitizer|faults_test.cpp");
    return;
  }
  for_each_schedule([&] { EXPECT_THAT(message_of(f), ContainsRegex(message)); });
}

TEST(SimtFaults, OverrunOfDeviceMemory) {
  expect_overrun(
      [](Stream stream) {
        const GpuArray<float> out(stream, 33);
        launch<overrun_kernel<0>>(stream, {1, 64}, out.data(), 33);
        gpu::synchronize(stream);
      },
      "overrun_kernel.* wrote 0 bytes behind an allocation of 132 bytes");
}
TEST(SimtFaults, OverrunOfSharedMemory) {
  expect_overrun(
      [](Stream stream) {
        launch<shared_overrun_kernel<0>>(stream, {1, 1}, 30);
      },
      "something wrote behind the 120 bytes of shared memory of tests/kernels");
  expect_overrun(
      [](Stream stream) {
        launch<shared_overrun_kernel<0>>(stream, {1, 1}, -1);
      },
      "something wrote before the 120 bytes of shared memory of tests/kernels");
  expect_overrun(
      [](Stream stream) {
        launch<dynamic_overrun_kernel<0>>(stream, {1, 1, 128});
      },
      "something wrote behind the 128 bytes of shared memory of dynamic");
}

template <int>
__global__ void uninitialised_kernel(float* out) {
  using Row = float[32];
  MONO_SHARED(Row, row);
  out[threadIdx.x] = row[threadIdx.x];
}
template <int>
__global__ void copy_value_kernel(float* out, const float* in) {
  *out = *in;
}

TEST(SimtFaults, UninitialisedMemoryIsNaN) {
  for_each_schedule([] {
    // A block before leaves values behind.
    EXPECT_EQ(result_of<neighbour_kernel<true>>({1, 64}, 64)[0], 1);
    for (const float x : result_of<uninitialised_kernel<0>>({1, 32}, 32))
      EXPECT_TRUE(std::isnan(x));
    const GpuStream stream;
    const GpuArray<float> never(stream, 1);
    EXPECT_TRUE(std::isnan(never.host()[0]));
  });
}

TEST(SimtFaults, UseAfterFree) {
  const auto use = [] {
    const GpuStream stream;
    float* const p = static_cast<float*>(gpu::allocate(64 + gpu::kGuardBytes));
    gpu::mark_allocated(p, 64, stream);
    gpu::fill(p, 0, 64, stream);
    const GpuArray<float> out(stream, 1);
    gpu::mark_free(p, 64, stream);
    launch<copy_value_kernel<0>>(stream, {1, 1}, out.data(), p);
    const float read = out.host()[0];
    gpu::release(p);
    return read;
  };
  if (kAddressSanitizer) {
    GTEST_FLAG_SET(death_test_style, "threadsafe");
    EXPECT_DEATH(use(), "use-after-poison");
  } else {
    for_each_schedule([&] { EXPECT_TRUE(std::isnan(use())); });
  }
}

TEST(SimtFaults, TheHostDereferencesDeviceMemory) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const GpuStream stream;
        const GpuArray<float> x(stream, std::vector<float>(4, 1.0f));
        volatile float* const p = x.data();
        p[1] = 2;
      },
      "the host touched device memory");
}
TEST(SimtFaults, AKernelIsGivenHostMemory) {
  float host = 0;
  EXPECT_THAT(message_of([&](Stream stream) {
                launch<overrun_kernel<0>>(stream, {1, 1}, &host, 1);
              }),
              AllOf(HasSubstr("overrun_kernel"), HasSubstr("argument 0 points to host memory")));
}

template <int>
__global__ void misaligned_vector_kernel(float* x) {
  *reinterpret_cast<float4*>(x + 1) = make_float4(1, 2, 3, 4);
}

TEST(SimtFaults, MisalignedVectorAccess) {  // UndefinedBehaviorSanitizer, preset asan
  if (!kAddressSanitizer) GTEST_SKIP() << "only found by UndefinedBehaviorSanitizer";
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH(
      {
        const GpuStream stream;
        const GpuArray<float> x(stream, 8);
        launch<misaligned_vector_kernel<0>>(stream, {1, 1}, x.data());
        stream.synchronize();
      },
      "misaligned address");
}

template <int>
__global__ void large_stack_kernel(float* out, int n) {
  volatile float local[75'000];  // 300 kB
  for (int i = 0; i < n; ++i) local[i] = 1;
  *out = local[0];
}

TEST(SimtFaults, StackOverflow) {
  GTEST_FLAG_SET(death_test_style, "threadsafe");
  EXPECT_DEATH((result_of<large_stack_kernel<0>>({1, 1}, 1, 75'000)),
               "more local memory than the emulator's stack of a thread holds in kernel "
               ".*large_stack_kernel|AddressSanitizer");
}

// --- Blocks, streams, the host -------------------------------------------------------------------

template <bool Writes>
__global__ void blocks_kernel(float* out) {  // block 1 reads what block 0 may not have written yet
  if (Writes || blockIdx.x == 0) out[blockIdx.x] = 1;
  if (!Writes && blockIdx.x == 1) out[1] = out[0];
}

TEST(SimtFaults, RaceBetweenBlocks) {
  expect_wrong_somewhere({1, 1}, [] { return result_of<blocks_kernel<false>>({2, 1}, 2); });
  expect_right({1, 1}, [] { return result_of<blocks_kernel<true>>({2, 1}, 2); });
  expect_race([] { result_of<blocks_kernel<false>>({2, 1}, 2); });
}

// One stream writes, another reads; only the second is waited for.
std::vector<float> across_streams(bool event) {
  const GpuStream first, second;
  const GpuArray<float> x(first, std::vector<float>(1, 0.0f)), y(second, 1);
  const GpuArray<float> one(first, std::vector<float>(1, 1.0f));
  launch<copy_value_kernel<0>>(first, {1, 1}, x.data(), one.data());
  const gpu::Event written = gpu::create_event();
  gpu::record(written, first);
  if (event) gpu::wait(second, written);
  launch<copy_value_kernel<0>>(second, {1, 1}, y.data(), x.data());
  const std::vector<float> result = y.host();
  gpu::destroy_event(written);
  return result;
}

TEST(SimtFaults, MissingEventBetweenStreams) {
  expect_right({1}, [] { return across_streams(true); });
  expect_wrong_somewhere({1}, [] { return across_streams(false); });
  expect_race([] { across_streams(false); });
}

// The host changes what an asynchronous copy has yet to read.
std::vector<float> changed_by_host(bool wait) {
  const GpuStream stream;
  std::vector<float> host(1, 1.0f);
  const GpuArray<float> x(stream, 1);
  gpu::copy(x.data(), host.data(), sizeof(float), stream);
  if (wait) stream.synchronize();
  host[0] = 2;
  return x.host();
}

TEST(SimtFaults, TheHostChangesABufferBeforeItsCopyRan) {
  expect_right({1}, [] { return changed_by_host(true); });
  expect_wrong_somewhere({1}, [] { return changed_by_host(false); });
  expect_race([] { changed_by_host(false); });
}

TEST(SimtFaults, TheHostWaitsDuringACapture) {
  const GpuStream stream, other;
  gpu::begin_capture(stream);
  const gpu::Event event = gpu::create_event();
  gpu::record(event, stream);
  EXPECT_THAT(message_of([&](Stream) { gpu::synchronize(Stream(stream)); }),
              HasSubstr("a stream that is being captured"));
  EXPECT_THAT(message_of([&](Stream) { gpu::synchronize(event); }),
              HasSubstr("an event of a capture"));
  EXPECT_THAT(message_of([&](Stream) { gpu::wait(other, event); }), HasSubstr("in a capture"));
  EXPECT_THAT(message_of([&](Stream) { gpu::begin_capture(stream); }),
              HasSubstr("captured already"));
  gpu::destroy_graph(gpu::end_capture(stream));
  EXPECT_THAT(message_of([&](Stream) { gpu::end_capture(stream); }),
              HasSubstr("not being captured"));
  gpu::destroy_event(event);
}

// --- Launches ------------------------------------------------------------------------------------

template <int>
__global__ void much_shared_kernel() {
  using Half = char[25 * 1024];
  MONO_SHARED(Half, a);
  a[0] = 0;
  MONO_SHARED(Half, b);
  b[0] = 0;
}
template <int>
__global__ void nothing_kernel() {}
template <int>
__global__ void no_dynamic_kernel() {
  MONO_DYNAMIC_SHARED(float, row);
  row[0] = 0;
}

TEST(SimtFaults, ShapesThatNoGpuHas) {
  const auto message = [](LaunchShape shape) {
    return message_of([&](Stream stream) { launch<nothing_kernel<0>>(stream, shape); });
  };
  EXPECT_EQ(message({1, 1024}), "no error");
  EXPECT_THAT(message({1, 1025}), HasSubstr("a block of (1025, 1, 1) has 1025 threads"));
  EXPECT_THAT(message({1, dim3(1, 1, 65)}), HasSubstr("z up to 64"));
  EXPECT_THAT(message({dim3(1, 65536), 1}), HasSubstr("y and z at most 65535"));
  EXPECT_THAT(message({1, 1, 228 * 1024}), HasSubstr("233472 bytes of dynamic shared memory"));
  expect_fault<much_shared_kernel<0>>({1, 1}, "51200 bytes of static shared memory");
  EXPECT_THAT(message_of([](Stream stream) {
                launch<no_dynamic_kernel<0>>(stream, {1, 1});
              }),
              HasSubstr("the launch gave no dynamic shared memory"));
}

}  // namespace
}  // namespace mono
