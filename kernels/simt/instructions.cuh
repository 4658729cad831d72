// The tensor-core and asynchronous-copy instructions, one struct or function each: PTX under nvcc,
// the same meaning in plain code under the emulator. Nothing else in the project holds PTX.
//
// Layouts are those of the PTX ISA, "Matrix multiply-accumulate operation using mma instruction":
// a warp's lanes hold pieces ("fragments") of the operands, given here as functions
// (lane, register) -> (row, column) that emulator, kernels and tests share.
#pragma once

#include <cstdint>

#include "kernels/base/bf16.h"
#include "kernels/simt/simt.cuh"

namespace mono {

// D (16,8) f32 += A (16,16) bf16 row-major * B (16,8) bf16 column-major.      sm_80 and later
struct MmaM16N8K16 {
  static constexpr int M = 16, N = 8, K = 16;
  struct Position {
    int row, column;
  };
  // Register i of A and B holds two values, columns (A) or rows (B) `half` = 0, 1 apart.
  MONO_HOST_DEVICE static constexpr Position a(int lane, int i, int half) {  // (M16,K16)
    return {lane / 4 + 8 * (i % 2), lane % 4 * 2 + 8 * (i / 2) + half};
  }
  MONO_HOST_DEVICE static constexpr Position b(int lane, int i, int half) {  // (K16,N8)
    return {lane % 4 * 2 + 8 * i + half, lane / 4};
  }
  MONO_HOST_DEVICE static constexpr Position d(int lane, int i) {  // (M16,N8)
    return {lane / 4 + 8 * (i / 2), lane % 4 * 2 + i % 2};
  }
};

// Two values rounded to bf16, `low` in the low half: a register of A or B.
MONO_HOST_DEVICE inline uint32_t bf16_pair(float low, float high) {
#ifdef __CUDA_ARCH__
  const __nv_bfloat162 pair = __floats2bfloat162_rn(low, high);  // one instruction
  return uint32_t{__bfloat16_as_ushort(pair.x)} | uint32_t{__bfloat16_as_ushort(pair.y)} << 16;
#else
  return uint32_t{bf16(low).bits} | uint32_t{bf16(high).bits} << 16;
#endif
}

// Memory of a 16-byte row as ldmatrix reads it; the 8x8 matrix j of x4 comes from the addresses of
// lanes [8j, 8j + 8).

#ifdef __CUDACC__

__device__ __forceinline__ uint32_t shared_address(const void* p) {
  return static_cast<uint32_t>(__cvta_generic_to_shared(p));
}

// d += a * b, one warp.
__device__ __forceinline__ void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4],
                                                  const uint32_t (&b)[2]) {
  asm volatile(
      "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 "
      "{%0,%1,%2,%3}, {%4,%5,%6,%7}, {%8,%9}, {%0,%1,%2,%3};\n"
      : "+f"(d[0]), "+f"(d[1]), "+f"(d[2]), "+f"(d[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four (two) 8x8 matrices of 16-bit values from shared memory; every lane gives the address of a
// row (of x2, lanes 0..15), 16-byte aligned. Register j of lane l receives elements (l / 4,
// l % 4 * 2 + {0, 1}) of matrix j; with trans, of the transposed matrix.
__device__ __forceinline__ void ldmatrix_x4(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0,%1,%2,%3}, [%4];\n"
               : "=r"(r[0]), "=r"(r[1]), "=r"(r[2]), "=r"(r[3])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}
__device__ __forceinline__ void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row) {
  asm volatile("ldmatrix.sync.aligned.m8n8.x2.trans.shared.b16 {%0,%1}, [%2];\n"
               : "=r"(r[0]), "=r"(r[1])
               : "r"(shared_address(row))
               : "memory");
}

// Copies Bytes (4, 8 or 16; both sides aligned to it) from global to shared memory while the thread
// goes on; bytes from `valid` on are zeros (valid 0: `global` is not read, but must be a valid
// address). Visible to the thread after cp_async_wait, to others after a barrier behind it.
template <int Bytes>
__device__ __forceinline__ void cp_async(void* shared, const void* global, int valid = Bytes) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  if constexpr (Bytes == 16)
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;\n" ::"r"(shared_address(shared)),
                 "l"(global), "r"(valid)
                 : "memory");
  else
    asm volatile("cp.async.ca.shared.global [%0], [%1], %2, %3;\n" ::"r"(shared_address(shared)),
                 "l"(global), "n"(Bytes), "r"(valid)
                 : "memory");
}
// Ends a group of copies.
__device__ __forceinline__ void cp_async_commit() {
  asm volatile("cp.async.commit_group;\n" ::: "memory");
}
// Waits until at most `Pending` of the thread's newest groups are still under way.
template <int Pending>
__device__ __forceinline__ void cp_async_wait() {
  asm volatile("cp.async.wait_group %0;\n" ::"n"(Pending) : "memory");
}

#else  // the emulator

namespace simt {

struct MmaInput {
  float d[4];
  uint32_t a[4], b[2];
};
inline float half_of(uint32_t pair, int half) {
  bf16 value;
  value.bits = static_cast<uint16_t>(pair >> (16 * half));
  return static_cast<float>(value);
}
// Accumulates in f32 in the order of k. The hardware's order and rounding differ: compare with a
// tolerance.
void mma_m16n8k16_bf16(const LaneInputs& ins, const LaneOutputs& outs, Mask mask);
void ldmatrix(const char* kind, uint32_t* r, int matrices, bool transposed, const void* row,
              Site site);

}  // namespace simt

inline void mma_m16n8k16_bf16(float (&d)[4], const uint32_t (&a)[4], const uint32_t (&b)[2],
                              MONO_SITE_PARAMETERS) {
  const simt::MmaInput in{{d[0], d[1], d[2], d[3]}, {a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
  simt::warp_collective("mma_m16n8k16_bf16", 0xffffffffu, &in, d, simt::mma_m16n8k16_bf16,
                        MONO_SITE, simt::Meet::registers_aligned);
}
inline void ldmatrix_x4(uint32_t (&r)[4], const void* row, MONO_SITE_PARAMETERS) {
  simt::ldmatrix("ldmatrix_x4", r, 4, false, row, MONO_SITE);
}
inline void ldmatrix_x4_trans(uint32_t (&r)[4], const void* row, MONO_SITE_PARAMETERS) {
  simt::ldmatrix("ldmatrix_x4_trans", r, 4, true, row, MONO_SITE);
}
inline void ldmatrix_x2(uint32_t (&r)[2], const void* row, MONO_SITE_PARAMETERS) {
  simt::ldmatrix("ldmatrix_x2", r, 2, false, row, MONO_SITE);
}
inline void ldmatrix_x2_trans(uint32_t (&r)[2], const void* row, MONO_SITE_PARAMETERS) {
  simt::ldmatrix("ldmatrix_x2_trans", r, 2, true, row, MONO_SITE);
}
template <int Bytes>
void cp_async(void* shared, const void* global, int valid = Bytes, MONO_SITE_PARAMETERS) {
  static_assert(Bytes == 4 || Bytes == 8 || Bytes == 16);
  simt::copy_async(shared, global, Bytes, valid, MONO_SITE);
}
inline void cp_async_commit(MONO_SITE_PARAMETERS) {
  simt::copy_async_commit(MONO_SITE);
}
template <int Pending>
void cp_async_wait() {
  simt::copy_async_wait(Pending);
}

#endif

}  // namespace mono
