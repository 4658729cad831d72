// Every word of the vocabulary (kernels/simt/simt.cuh, instructions.cuh) against what the CUDA
// programming guide and the PTX ISA say, written down here a second time. Runs on the emulator and,
// in a CUDA build, on the GPU: where the two differ, the emulator is wrong.
#include <cmath>
#include <set>

#include "kernels/base/bf16.h"
#include "kernels/simt/instructions.cuh"
#include "kernels/simt/simt.cuh"
#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;

// What kernel(out, in) leaves in n values, which are zero before.
template <auto Kernel, class Out, class In>
std::vector<Out> run(const LaunchShape& shape, int64_t n, const std::vector<In>& in) {
  const GpuStream stream;
  const GpuArray<In> from(stream, in);
  const GpuArray<Out> to(stream, std::vector<Out>(static_cast<size_t>(n)));
  launch<Kernel>(stream, shape, to.data(), static_cast<const In*>(from.data()));
  return to.host();
}

template <class T>
std::vector<T> counting(int n) {
  std::vector<T> values(static_cast<size_t>(n));
  for (int i = 0; i < n; ++i) values[static_cast<size_t>(i)] = static_cast<T>(3 * i + 1);
  return values;
}

// --- Places, barriers, memory --------------------------------------------------------------------

template <int>
__global__ void places_kernel(int* out, const int*) {
  const unsigned thread = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned block = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned threads = blockDim.x * blockDim.y * blockDim.z;
  out[block * threads + thread] = static_cast<int>(block * 1000 + thread);
}

TEST(SimtGpu, EveryThreadOfEveryBlockRunsOnce) {
  for_each_schedule([] {
    const auto out =
        run<places_kernel<0>, int>({dim3(3, 2, 2), dim3(5, 3, 2)}, 360, counting<int>(1));
    for (int i = 0; i < 360; ++i) ASSERT_EQ(out[i], i / 30 * 1000 + i % 30);
  });
}

// The warp of threads 32..63 and threads 70.. end early; the others sum up behind barriers.
template <int>
__global__ void early_exit_kernel(int* out, const int* in) {
  using Values = int[96];
  MONO_SHARED(Values, values);
  const int t = static_cast<int>(threadIdx.x);
  if ((t >= 32 && t < 64) || t >= 70) return;
  values[t] = in[t];
  const int present = __syncthreads_count(1), odd = __syncthreads_count(t % 2);
  int sum = 0;
  for (int i = 0; i < 70; i += i == 31 ? 33 : 1) sum += values[i];
  __syncthreads();
  out[t] = sum + 10'000 * present + 1'000'000 * odd;
}

TEST(SimtGpu, EndedThreadsDoNotHoldUpBarriers) {
  for_each_schedule([] {
    const auto in = counting<int>(96);
    int sum = 0;
    for (int i = 0; i < 70; ++i) sum += i < 32 || i >= 64 ? in[i] : 0;
    const auto out = run<early_exit_kernel<0>, int>({1, 96}, 96, in);
    for (int i = 0; i < 96; ++i)
      ASSERT_EQ(out[i], (i >= 32 && i < 64) || i >= 70 ? 0 : sum + 380'000 + 19'000'000);
  });
}

// Two instances of a function have an object each, two calls of one instance share it.
template <class T>
__device__ T* object_of() {
  using One = T[4];
  MONO_SHARED(One, object);
  return object;
}
template <int>
__global__ void shared_objects_kernel(int* out, const int*) {
  int* const a = object_of<int>();
  float* const b = object_of<float>();
  MONO_DYNAMIC_SHARED(int, dynamic);
  a[threadIdx.x] = static_cast<int>(threadIdx.x);
  b[threadIdx.x] = 0.5f;
  dynamic[threadIdx.x] = 100;
  __syncthreads();
  if (blockIdx.x > 0) return;
  out[threadIdx.x] = object_of<int>()[3 - threadIdx.x] + dynamic[3 - threadIdx.x] +
                     static_cast<int>(2 * b[3 - threadIdx.x]);
}

TEST(SimtGpu, SharedMemory) {
  for_each_schedule([] {
    EXPECT_EQ((run<shared_objects_kernel<0>, int>({2, 4, 16}, 4, counting<int>(1))),
              (std::vector<int>{104, 103, 102, 101}));
  });
}

template <int>
__global__ void atomics_kernel(double* out, const int* in) {
  using Counters = int[3];
  MONO_SHARED(Counters, counters);
  if (threadIdx.x < 3) counters[threadIdx.x] = 0;
  __syncthreads();
  const int value = in[blockIdx.x * blockDim.x + threadIdx.x];
  atomicAdd(&counters[0], value);
  atomicMax(&counters[1], value);
  if (atomicAdd(&counters[2], 1) == 0) atomicAdd(&out[3], 1.0);  // one thread a block is first
  __syncthreads();
  if (threadIdx.x > 0) return;
  atomicAdd(&out[0], static_cast<double>(counters[0]));
  atomicAdd(&out[1], static_cast<double>(counters[1]));
  atomicAdd(&out[2], static_cast<double>(counters[2]));
}

TEST(SimtGpu, Atomics) {
  for_each_schedule([] {
    // Values 3 i + 1 of two blocks of 40.
    EXPECT_EQ((run<atomics_kernel<0>, double>({2, 40}, 4, counting<int>(80))),
              (std::vector<double>{3 * 79 * 40 + 80, 118 + 238, 80, 2}));
  });
}

// --- Warp operations -----------------------------------------------------------------------------

enum class Shuffle { index, up, down, exclusive_or };

template <Shuffle kind, int width, class T>
__global__ void shuffle_kernel(T* out, const T* in) {
  for (int b = 0; b < 32; ++b) {
    const T value = in[threadIdx.x];
    T got{};
    if constexpr (kind == Shuffle::index) got = __shfl_sync(0xffffffffu, value, b, width);
    if constexpr (kind == Shuffle::up)
      got = __shfl_up_sync(0xffffffffu, value, static_cast<unsigned>(b), width);
    if constexpr (kind == Shuffle::down)
      got = __shfl_down_sync(0xffffffffu, value, static_cast<unsigned>(b), width);
    if constexpr (kind == Shuffle::exclusive_or)
      got = __shfl_xor_sync(0xffffffffu, value, b, width);
    out[32 * threadIdx.x + static_cast<unsigned>(b)] = got;
  }
}

// PTX ISA, shfl.sync: segmask = 32 - width, c = 0 for up and 31 for the others.
int shuffle_source(Shuffle kind, int width, int lane, int b) {
  const int segment_mask = 32 - width, c = kind == Shuffle::up ? 0 : 31;
  const int max_lane = (lane & segment_mask) | (c & ~segment_mask);
  const int min_lane = lane & segment_mask;
  int j = 0;
  bool p = false;
  switch (kind) {
    case Shuffle::up:
      j = lane - b;
      p = j >= max_lane;
      break;
    case Shuffle::down:
      j = lane + b;
      p = j <= max_lane;
      break;
    case Shuffle::exclusive_or:
      j = lane ^ b;
      p = j <= max_lane;
      break;
    case Shuffle::index:
      j = min_lane | (b & ~segment_mask);
      p = j <= max_lane;
      break;
  }
  return p ? j : lane;
}

template <Shuffle kind, int width, class T>
void check_shuffle() {
  const auto in = counting<T>(64);
  const auto out = run<shuffle_kernel<kind, width, T>, T>({1, 64}, 64 * 32, in);
  for (int t = 0; t < 64; ++t)
    for (int b = 0; b < 32; ++b)
      ASSERT_EQ(out[32 * t + b], in[t / 32 * 32 + shuffle_source(kind, width, t % 32, b)])
          << "kind " << static_cast<int>(kind) << ", width " << width << ", lane " << t << ", "
          << b;
}

template <Shuffle kind>
void check_shuffles() {
  check_shuffle<kind, 32, float>();
  check_shuffle<kind, 16, int>();
  check_shuffle<kind, 4, double>();
  check_shuffle<kind, 1, float>();
}

TEST(SimtGpu, Shuffles) {
  for_each_schedule([] {
    check_shuffles<Shuffle::index>();
    check_shuffles<Shuffle::up>();
    check_shuffles<Shuffle::down>();
    check_shuffles<Shuffle::exclusive_or>();
  });
}

// Even and odd lanes meet in masks of their own.
template <int>
__global__ void votes_kernel(unsigned* out, const int* in) {
  const uint32_t mask = threadIdx.x % 2 ? 0xaaaaaaaau : 0x55555555u;
  const int value = in[threadIdx.x];
  unsigned* const mine = out + 6 * threadIdx.x;
  mine[0] = __ballot_sync(mask, value > 40);
  mine[1] = static_cast<unsigned>(__any_sync(mask, value == 1));
  mine[2] = static_cast<unsigned>(__all_sync(mask, value > 1));
  mine[3] = __reduce_add_sync(mask, static_cast<unsigned>(value));
  mine[4] = __reduce_max_sync(mask, static_cast<unsigned>(value));
  __syncwarp(mask);
  mine[5] = static_cast<unsigned>(__shfl_xor_sync(mask, value, 2));
}

TEST(SimtGpu, VotesAndReductionsOfPartialMasks) {
  for_each_schedule([] {
    const auto in = counting<int>(32);
    const auto out = run<votes_kernel<0>, unsigned>({1, 32}, 6 * 32, in);
    for (int t = 0; t < 32; ++t) {
      unsigned ballot = 0, sum = 0;
      for (int l = t % 2; l < 32; l += 2) {
        ballot |= in[l] > 40 ? 1u << l : 0;
        sum += static_cast<unsigned>(in[l]);
      }
      const std::vector<unsigned> mine(out.begin() + 6 * t, out.begin() + 6 * t + 6);
      ASSERT_EQ(mine, (std::vector<unsigned>{ballot, t % 2 == 0, t % 2 == 1, sum,
                                             static_cast<unsigned>(in[30 + t % 2]),
                                             static_cast<unsigned>(in[t ^ 2])}));
    }
  });
}

template <int>
__global__ void numbers_kernel(double* out, const float* in) {
  const float x = __ldg(in);
  const uint32_t bits = __float_as_uint(x);
  out[0] = rsqrtf(x);
  out[1] = __expf(x);
  out[2] = __logf(x);
  out[3] = __fdividef(1.0f, x);
  out[4] = __uint_as_float(bits + 1) > x;
  out[5] = __popc(0xf0f0u);
  out[6] = __ffs(0x50) + 100 * __ffs(0);
  out[7] = __clz(0x50);
  out[8] = fmaf(x, x, 1.0f);
  const float4 v = make_float4(1, 2, 3, 4);
  out[9] = v.x + 10 * v.y + 100 * v.z + 1000 * v.w;
}

TEST(SimtGpu, Numbers) {
  for_each_schedule([] {
    const float x = 1.7f;
    const std::vector<double> out =
        run<numbers_kernel<0>, double>({1, 1}, 10, std::vector<float>{x});
    const double expected[] = {
        1 / std::sqrt(1.7), std::exp(1.7), std::log(1.7), 1 / 1.7, 1, 8, 5, 25,
        1 + 1.7 * 1.7,      4321};
    for (int i = 0; i < 10; ++i) EXPECT_NEAR(out[i], expected[i], 2e-6 * expected[i]) << i;
  });
}

// --- Asynchronous copies -------------------------------------------------------------------------

// Groups of 16-, 8- and 4-byte copies with zero fill, waited for one after the other.
template <int>
__global__ void copies_kernel(float* out, const float* in) {
  using Rows = float[4][4 * 32];
  MONO_SHARED(Rows, rows);
  const int t = static_cast<int>(threadIdx.x);
  cp_async<16>(&rows[0][4 * t], in + 4 * t);
  cp_async_commit();
  cp_async<16>(&rows[1][4 * t], in + 4 * t, t % 5 == 4 ? 0 : 4 * (t % 5));
  cp_async_commit();
  cp_async<8>(&rows[2][4 * t], in + 4 * t);
  cp_async<8>(&rows[2][4 * t + 2], in + 4 * t + 2, 4);
  cp_async_commit();
  for (int i = 0; i < 4; ++i) cp_async<4>(&rows[3][4 * t + i], in + 4 * t + 3 - i);
  cp_async_commit();
  cp_async_commit();  // an empty group
  cp_async_wait<4>();
  __syncthreads();
  const int other = 31 - t;
  for (int i = 0; i < 4; ++i) out[16 * t + i] = rows[0][4 * other + i];
  cp_async_wait<1>();
  __syncthreads();
  for (int row = 1; row < 4; ++row)
    for (int i = 0; i < 4; ++i) out[16 * t + 4 * row + i] = rows[row][4 * other + i];
}

TEST(SimtGpu, AsynchronousCopies) {
  for_each_schedule([] {
    const auto in = counting<float>(128);
    const auto out = run<copies_kernel<0>, float>({1, 32}, 16 * 32, in);
    for (int t = 0; t < 32; ++t)
      for (int i = 0; i < 4; ++i) {
        const int from = 31 - t;
        const float* const source = in.data() + 4 * from;
        const int valid = from % 5 == 4 ? 0 : from % 5;
        ASSERT_EQ(out[16 * t + i], source[i]);
        ASSERT_EQ(out[16 * t + 4 + i], i < valid ? source[i] : 0) << t << " " << i;
        ASSERT_EQ(out[16 * t + 8 + i], i < 3 ? source[i] : 0);
        ASSERT_EQ(out[16 * t + 12 + i], source[3 - i]);
      }
  });
}

// --- Tensor cores --------------------------------------------------------------------------------

// Row r of the 32 rows of eight 16-bit values holds 100 r + column.
template <int>
__global__ void ldmatrix_kernel(unsigned* out, const int*) {
  using Rows = uint16_t[32 * 8];
  MONO_SHARED(Rows, rows);
  const unsigned t = threadIdx.x;
  for (unsigned c = 0; c < 8; ++c) rows[8 * t + c] = static_cast<uint16_t>(100 * t + c);
  __syncthreads();
  uint32_t four[4], four_trans[4], two[2], two_trans[2];
  ldmatrix_x4(four, rows + 8 * t);
  ldmatrix_x4_trans(four_trans, rows + 8 * t);
  ldmatrix_x2(two, rows + 8 * (t % 16));
  ldmatrix_x2_trans(two_trans, rows + 8 * (t % 16));
  for (int i = 0; i < 4; ++i) {
    out[12 * t + i] = four[i];
    out[12 * t + 4 + i] = four_trans[i];
  }
  for (int i = 0; i < 2; ++i) {
    out[12 * t + 8 + i] = two[i];
    out[12 * t + 10 + i] = two_trans[i];
  }
}

TEST(SimtGpu, MatrixLoads) {
  for_each_schedule([] {
    const auto out = run<ldmatrix_kernel<0>, unsigned>({1, 32}, 12 * 32, counting<int>(1));
    // PTX ISA, ldmatrix: thread T of a matrix receives row T / 4, elements 2 (T % 4) and the next.
    const auto pair = [](int matrix, int thread) {
      const int row = 8 * matrix + thread / 4, element = 2 * (thread % 4);
      return static_cast<unsigned>(100 * row + element) |
             static_cast<unsigned>(100 * row + element + 1) << 16;
    };
    const auto transposed = [](int matrix, int thread) {
      const int column = thread / 4, row = 8 * matrix + 2 * (thread % 4);
      return static_cast<unsigned>(100 * row + column) |
             static_cast<unsigned>(100 * (row + 1) + column) << 16;
    };
    for (int t = 0; t < 32; ++t)
      for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(out[12 * t + i], pair(i, t));
        ASSERT_EQ(out[12 * t + 4 + i], transposed(i, t));
        if (i >= 2) continue;
        ASSERT_EQ(out[12 * t + 8 + i], pair(i, t));
        ASSERT_EQ(out[12 * t + 10 + i], transposed(i, t));
      }
  });
}

// PTX ISA, "Matrix Fragments for mma.m16n8k16 with floating point type": element i of a thread's
// fragment, where register r holds elements 2 r and 2 r + 1.
struct At {
  int row, column;
};
MONO_HOST_DEVICE At a_element(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {(i >= 0 && i < 2) || (i >= 4 && i < 6) ? group : group + 8,
          i < 4 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8};
}
MONO_HOST_DEVICE At b_element(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? thread * 2 + (i & 1) : thread * 2 + (i & 1) + 8, group};
}
MONO_HOST_DEVICE At d_element(int lane, int i) {
  const int group = lane >> 2, thread = lane % 4;
  return {i < 2 ? group : group + 8, thread * 2 + (i & 1)};
}

// in: A (16, 16), B (16, 8), D (16, 8) as floats that bf16 represents.
template <int>
__global__ void mma_kernel(float* out, const float* in) {
  const int lane = static_cast<int>(threadIdx.x);
  const auto packed = [](float low, float high) {
    return static_cast<uint32_t>(bf16(low).bits) | static_cast<uint32_t>(bf16(high).bits) << 16;
  };
  uint32_t a[4], b[2];
  float d[4];
  for (int r = 0; r < 4; ++r) {
    const At low = a_element(lane, 2 * r), high = a_element(lane, 2 * r + 1);
    a[r] = packed(in[16 * low.row + low.column], in[16 * high.row + high.column]);
  }
  for (int r = 0; r < 2; ++r) {
    const At low = b_element(lane, 2 * r), high = b_element(lane, 2 * r + 1);
    b[r] = packed(in[256 + 8 * low.row + low.column], in[256 + 8 * high.row + high.column]);
  }
  for (int i = 0; i < 4; ++i) {
    const At at = d_element(lane, i);
    d[i] = in[384 + 8 * at.row + at.column];
  }
  mma_m16n8k16_bf16(d, a, b);
  for (int i = 0; i < 4; ++i) {
    const At at = d_element(lane, i);
    out[8 * at.row + at.column] = d[i];
  }
}

TEST(SimtGpu, MatrixProduct) {
  for_each_schedule([] {
    std::vector<float> in(512);  // small integers: exact in any order of summation
    for (int i = 0; i < 512; ++i) in[i] = static_cast<float>(i * i % 17 - 8);
    const auto out = run<mma_kernel<0>, float>({1, 32}, 128, in);
    for (int m = 0; m < 16; ++m)
      for (int n = 0; n < 8; ++n) {
        float sum = in[384 + 8 * m + n];
        for (int k = 0; k < 16; ++k) sum += in[16 * m + k] * in[256 + 8 * k + n];
        ASSERT_EQ(out[8 * m + n], sum) << m << ", " << n;
      }
  });
}

// The positions that kernels use are the same ones.
TEST(SimtGpu, FragmentPositions) {
  using Mma = MmaM16N8K16;
  for (int lane = 0; lane < 32; ++lane)
    for (int i = 0; i < 4; ++i) {
      for (int half = 0; half < 2; ++half) {
        const auto a = Mma::a(lane, i, half);
        EXPECT_EQ(a.row, a_element(lane, 2 * i + half).row);
        EXPECT_EQ(a.column, a_element(lane, 2 * i + half).column);
        if (i >= 2) continue;
        const auto b = Mma::b(lane, i, half);
        EXPECT_EQ(b.row, b_element(lane, 2 * i + half).row);
        EXPECT_EQ(b.column, b_element(lane, 2 * i + half).column);
      }
      EXPECT_EQ(Mma::d(lane, i).row, d_element(lane, i).row);
      EXPECT_EQ(Mma::d(lane, i).column, d_element(lane, i).column);
    }
}

}  // namespace
}  // namespace mono
