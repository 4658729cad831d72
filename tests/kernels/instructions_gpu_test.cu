// The instructions of kernels/simt/instructions.cuh, one warp each, on small integers, which every
// unit computes exactly: on the GPU this checks the fragment layouts that kernels and emulator
// share; on the emulator, that its instructions follow them.
#include "kernels/simt/instructions.cuh"

#include <gtest/gtest.h>

#include "tests/kernels/gpu_test.h"

namespace mono {
namespace {

using namespace test;
using Mma = MmaM16N8K16;

__device__ __forceinline__ uint32_t pair_of(bf16 low, bf16 high) {
  return uint32_t{low.bits} | uint32_t{high.bits} << 16;
}

// d (16,8) = a (16,16) b (16,8) + d, each lane loading its pieces as the layout functions say.
__global__ void __launch_bounds__(32) mma_kernel(const bf16* a, const bf16* b, float* d) {
  const int lane = static_cast<int>(threadIdx.x);
  uint32_t fa[4], fb[2];
  float fd[4];
  for (int i = 0; i < 4; ++i) {
    const auto low = Mma::a(lane, i, 0), high = Mma::a(lane, i, 1);
    fa[i] = pair_of(a[low.row * Mma::K + low.column], a[high.row * Mma::K + high.column]);
  }
  for (int i = 0; i < 2; ++i) {
    const auto low = Mma::b(lane, i, 0), high = Mma::b(lane, i, 1);
    fb[i] = pair_of(b[low.row * Mma::N + low.column], b[high.row * Mma::N + high.column]);
  }
  for (int i = 0; i < 4; ++i) fd[i] = d[Mma::d(lane, i).row * Mma::N + Mma::d(lane, i).column];
  mma_m16n8k16_bf16(fd, fa, fb);
  for (int i = 0; i < 4; ++i) d[Mma::d(lane, i).row * Mma::N + Mma::d(lane, i).column] = fd[i];
}

TEST(InstructionsGpu, MmaFollowsTheLayout) {
  for_each_schedule([] {
    const GpuStream stream;
    std::vector<bf16> a, b;
    std::vector<float> d, expected;
    for (int i = 0; i < Mma::M * Mma::K; ++i) a.push_back(bf16(float(i * 7 % 23 - 11)));
    for (int i = 0; i < Mma::K * Mma::N; ++i) b.push_back(bf16(float(i * 5 % 19 - 9)));
    for (int m = 0; m < Mma::M; ++m)
      for (int n = 0; n < Mma::N; ++n) {
        d.push_back(float(m - n));
        float sum = d.back();
        for (int k = 0; k < Mma::K; ++k)
          sum += static_cast<float>(a[m * Mma::K + k]) * static_cast<float>(b[k * Mma::N + n]);
        expected.push_back(sum);
      }
    const GpuArray<bf16> da(stream, a), db(stream, b);
    const GpuArray<float> dd(stream, d);
    launch<mma_kernel>(stream, {1, 32, 0}, da.data(), db.data(), dd.data());
    EXPECT_EQ(dd.host(), expected);
  });
}

// Matrix j holds 100 j + 8 row + column; out (4 forms, 32 lanes, 4 registers).
__global__ void __launch_bounds__(32) ldmatrix_kernel(uint32_t* out) {
  using Matrices = uint16_t[4][8][8];
  MONO_SHARED(Matrices, matrices);
  const int lane = static_cast<int>(threadIdx.x);
  for (int i = lane; i < 256; i += 32)
    matrices[i / 64][i / 8 % 8][i % 8] = static_cast<uint16_t>(100 * (i / 64) + i % 64);
  __syncwarp();
  const void* row4 = matrices[lane / 8][lane % 8];
  const void* row2 = matrices[lane / 8 % 2][lane % 8];
  uint32_t x4[4], x4_trans[4], x2[2], x2_trans[2];
  ldmatrix_x4(x4, row4);
  ldmatrix_x4_trans(x4_trans, row4);
  ldmatrix_x2(x2, row2);
  ldmatrix_x2_trans(x2_trans, row2);
  for (int j = 0; j < 4; ++j) {
    out[(0 * 32 + lane) * 4 + j] = x4[j];
    out[(1 * 32 + lane) * 4 + j] = x4_trans[j];
    out[(2 * 32 + lane) * 4 + j] = j < 2 ? x2[j] : 0;
    out[(3 * 32 + lane) * 4 + j] = j < 2 ? x2_trans[j] : 0;
  }
}

TEST(InstructionsGpu, LdmatrixGivesEachLaneItsPair) {
  for_each_schedule([] {
    const GpuStream stream;
    const GpuArray<uint32_t> out(stream, 4 * 32 * 4);
    launch<ldmatrix_kernel>(stream, {1, 32, 0}, out.data());
    const std::vector<uint32_t> values = out.host();
    for (int form = 0; form < 4; ++form)
      for (int lane = 0; lane < 32; ++lane)
        for (int j = 0; j < 4; ++j) {
          const bool transposed = form % 2 == 1, absent = form >= 2 && j >= 2;
          uint32_t expected = 0;
          for (int half = 0; half < 2 && !absent; ++half) {
            const int row = lane / 4, column = lane % 4 * 2 + half;
            const int at = transposed ? column * 8 + row : row * 8 + column;
            expected |= static_cast<uint32_t>(100 * j + at) << (16 * half);
          }
          ASSERT_EQ(values[(form * 32 + lane) * 4 + j], expected)
              << "form " << form << ", lane " << lane << ", register " << j;
        }
  });
}

// Each lane copies 16 bytes, of which lane % 5 * 4 are valid; what lies behind becomes zero.
__global__ void __launch_bounds__(32) cp_async_kernel(const uint32_t* in, uint32_t* out) {
  struct alignas(16) Words {
    uint32_t words[32][4];
  };
  MONO_SHARED(Words, copies);
  const int lane = static_cast<int>(threadIdx.x);
  cp_async<16>(copies.words[lane], in + 4 * lane, lane % 5 * 4);
  cp_async_commit();
  cp_async_wait<0>();
  __syncwarp();
  const int other = 31 - lane;
  for (int i = 0; i < 4; ++i) out[4 * other + i] = copies.words[other][i];
}

TEST(InstructionsGpu, CpAsyncFillsWithZeros) {
  for_each_schedule([] {
    const GpuStream stream;
    std::vector<uint32_t> in, expected;
    for (uint32_t i = 0; i < 128; ++i) {
      in.push_back(i + 1);
      expected.push_back(i % 4 < i / 4 % 5 ? i + 1 : 0);
    }
    const GpuArray<uint32_t> din(stream, in), dout(stream, 128);
    launch<cp_async_kernel>(stream, {1, 32, 0}, din.data(), dout.data());
    EXPECT_EQ(dout.host(), expected);
  });
}

}  // namespace
}  // namespace mono
