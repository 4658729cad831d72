// Shared memory of the block that runs: poisoned for every block, each object fenced, so that a
// read before a write gives NaN and a write outside is found.
//
// ThreadSanitizer gets fresh pages for every block, so that two blocks' use of an address is no
// race; the addresses that order a block's threads lie in the same pages.
#pragma once

#include <cstddef>
#include <string>
#include <vector>

#include "kernels/simt/emulator.h"

namespace mono::simt {

class SharedMemory {
 public:
  static constexpr size_t kStaticLimit = 48 * 1024, kLimit = 227 * 1024;  // bytes a block may have

  // With this much dynamic shared memory; none: null.
  void begin_block(size_t dynamic_bytes);
  char* dynamic() const { return dynamic_; }

  // The object of a declaration: what was taken for this key in this block, or null.
  char* find(const void* key) const;
  char* take(const void* key, size_t bytes, size_t alignment, Site site);
  size_t static_bytes() const { return static_bytes_; }

  bool contains(const void* p, size_t bytes) const;
  // Where a byte between the objects was written, or nothing. AddressSanitizer sees such writes
  // when they happen.
  std::string broken_fence() const;

  // Addresses of this block for race::release and acquire.
  void* barrier_sync(int ordinal) { return sync_ + ordinal % 2; }
  void* warp_sync(int warp, Mask mask, bool out);

 private:
  static constexpr size_t kFence = 64, kObjects = 64, kWarpSyncs = 64;
  static constexpr size_t kSyncBytes = 32 * 1024, kStaticBytes = 2 * kStaticLimit;  // with fences
  struct Object {
    const void* key;
    Site site;
    size_t offset, bytes;
  };
  struct alignas(8) Sync {
    char byte;
  };

  char* memory_ = nullptr;
  size_t bytes_ = 0;
  Sync* sync_ = nullptr;
  char* dynamic_ = nullptr;
  size_t used_ = 0, static_bytes_ = 0;
  std::vector<Object> objects_;
};

}  // namespace mono::simt
