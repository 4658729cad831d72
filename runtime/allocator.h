// The caching allocator: device memory is asked from the system once and reused.
//
// A freed block goes to a free list and serves the next request of nearly its size (at most an
// eighth is wasted). The cache never lifts the footprint: before the system is asked for a new
// block, cached blocks are returned until active + cached bytes stay within the peak of active
// bytes, so that what a process needs is what its live tensors needed at their worst moment.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>

#include "runtime/device.h"

namespace mono {

struct AllocatorCounters {
  int64_t active_bytes = 0;       // in live storages
  int64_t cached_bytes = 0;       // held for reuse
  int64_t peak_active_bytes = 0;  // maximum of active_bytes since the last reset_peak
  int64_t system_requests = 0;    // blocks asked from the system so far
};

class CachingAllocator {
 public:
  static CachingAllocator& of(Device device);

  ~CachingAllocator();

  // A block of at least `bytes`, 64-byte aligned (4096 from 1 MiB on), not cleared. `granted`
  // receives its size, which free() wants back. Throws Error(device) when the system has none.
  void* allocate(size_t bytes, size_t& granted);
  void free(void* block, size_t granted);

  AllocatorCounters counters() const;
  void reset_peak();
  void release_cache();  // returns every cached block to the system

 private:
  explicit CachingAllocator(Device device) : device_(device) {}
  void release_until(int64_t limit);  // mutex held

  const Device device_;
  mutable std::mutex mutex_;
  std::multimap<size_t, void*> cache_;  // by size
  AllocatorCounters counters_;
};

}  // namespace mono
