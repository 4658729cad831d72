#include "kernels/simt/instructions.cuh"

#include "kernels/simt/emulator_run.h"
#include "kernels/simt/sanitizers.h"

namespace mono::simt {

void mma_m16n8k16_bf16(const LaneInputs& ins, const LaneOutputs& outs, Mask mask) {
  using Mma = MmaM16N8K16;
  float a[Mma::M][Mma::K], b[Mma::K][Mma::N];
  for (int lane = 0; lane < 32; ++lane) {
    if (!(mask >> lane & 1)) return;
    const auto& in = *static_cast<const MmaInput*>(ins[lane]);
    for (int half = 0; half < 2; ++half) {
      for (int i = 0; i < 4; ++i) {
        const auto at = Mma::a(lane, i, half);
        a[at.row][at.column] = half_of(in.a[i], half);
      }
      for (int i = 0; i < 2; ++i) {
        const auto at = Mma::b(lane, i, half);
        b[at.row][at.column] = half_of(in.b[i], half);
      }
    }
  }
  for (int lane = 0; lane < 32; ++lane) {
    const auto& in = *static_cast<const MmaInput*>(ins[lane]);
    float* d = static_cast<float*>(outs[lane]);
    for (int i = 0; i < 4; ++i) {
      const auto at = Mma::d(lane, i);
      float sum = in.d[i];
      for (int k = 0; k < Mma::K; ++k) sum += a[at.row][k] * b[k][at.column];
      d[i] = sum;
    }
  }
}

namespace {

struct LdmatrixInput {
  const void* row;
  uint32_t* r;
  int matrices;
  bool transposed;
  Site site;
};

void load_matrices(const LaneInputs& ins, const LaneOutputs&, Mask) {
  const auto& first = *static_cast<const LdmatrixInput*>(ins[0]);
  for (int m = 0; m < first.matrices; ++m) {
    uint16_t matrix[8][8];
    for (int row = 0; row < 8; ++row) {
      const auto& in = *static_cast<const LdmatrixInput*>(ins[8 * m + row]);
      if (reinterpret_cast<uintptr_t>(in.row) % 16)
        fault(in.site, "ldmatrix: the row of lane %d at %p is not 16-byte aligned", 8 * m + row,
              in.row);
      if (!is_shared(in.row, 16))
        fault(in.site, "ldmatrix: the row of lane %d at %p is not in shared memory", 8 * m + row,
              in.row);
      std::memcpy(matrix[row], in.row, 16);
    }
    for (int lane = 0; lane < 32; ++lane) {
      const auto& in = *static_cast<const LdmatrixInput*>(ins[lane]);
      const int i = lane / 4, j = lane % 4 * 2;
      const uint32_t low = in.transposed ? matrix[j][i] : matrix[i][j];
      const uint32_t high = in.transposed ? matrix[j + 1][i] : matrix[i][j + 1];
      in.r[m] = low | high << 16;
    }
  }
}

void perform(const AsyncCopies::Copy& copy) {
  if (copy.valid > 0) race::read(copy.global, static_cast<size_t>(copy.valid), copy.where);
  race::write(copy.shared, static_cast<size_t>(copy.bytes), copy.where);
  if (copy.valid > 0) std::memcpy(copy.shared, copy.global, static_cast<size_t>(copy.valid));
  std::memset(static_cast<char*>(copy.shared) + copy.valid, 0,
              static_cast<size_t>(copy.bytes - copy.valid));
}

}  // namespace

void ldmatrix(const char* kind, uint32_t* r, int matrices, bool transposed, const void* row,
              Site site) {
  const LdmatrixInput in{row, r, matrices, transposed, site};
  if (lane_index() < 8 * matrices) race::read(row, 16, __builtin_return_address(0));
  char nothing = 0;
  warp_collective(kind, 0xffffffffu, &in, &nothing, load_matrices, site, Meet::registers_aligned);
}

void copy_async(void* shared, const void* global, int bytes, int valid, Site site) {
  AsyncCopies& own = async_copies("cp.async");
  const size_t size = static_cast<size_t>(bytes);
  if (reinterpret_cast<uintptr_t>(shared) % size || reinterpret_cast<uintptr_t>(global) % size)
    fault(site, "cp.async of %d bytes: shared %p or global %p is not aligned to that", bytes,
          shared, global);
  if (valid < 0 || valid > bytes) fault(site, "cp.async of %d bytes, %d valid", bytes, valid);
  if (!is_shared(shared, size)) fault(site, "cp.async: %p is not in shared memory", shared);
  if (own.issued - own.performed == AsyncCopies::kCopies)
    fault(site, "cp.async: more than %u copies of a thread in flight", AsyncCopies::kCopies);
  AsyncCopies::Copy& copy = own.copies[own.issued++ % AsyncCopies::kCopies];
  copy = {shared, global, bytes, valid, __builtin_return_address(0)};
  if (schedule().copies_at_issue) perform(copy);
}

void copy_async_commit(Site site) {
  AsyncCopies& own = async_copies("cp.async.commit_group");
  if (own.committed - own.waited == AsyncCopies::kGroups)
    fault(site, "cp.async: more than %u groups of a thread in flight", AsyncCopies::kGroups);
  own.group_end[own.committed++ % AsyncCopies::kGroups] = own.issued;
}

void copy_async_wait(int pending_groups) {
  AsyncCopies& own = async_copies("cp.async.wait_group");
  while (own.committed - own.waited > static_cast<uint32_t>(pending_groups)) {
    const uint32_t end = own.group_end[own.waited++ % AsyncCopies::kGroups];
    for (; own.performed != end; ++own.performed)
      if (!schedule().copies_at_issue) perform(own.copies[own.performed % AsyncCopies::kCopies]);
  }
}

}  // namespace mono::simt
