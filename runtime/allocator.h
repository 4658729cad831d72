// The caching allocator: device memory is asked from the system once and reused.
//
// Memory comes in segments. A request takes the smallest free block that holds it and splits off
// the rest; a freed block merges with its free neighbours. Training repeats the same requests every
// step, so after the first one the system is asked for nothing, no page is cleared again, and the
// footprint stays near the peak of live bytes. Wholly free segments go back to the system before a
// new one is taken, so that a change of sizes does not pile memory up.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <utility>

#include "kernels/base/device.h"

namespace mono {

struct AllocatorCounters {
  int64_t active_bytes = 0;       // in live storages
  int64_t cached_bytes = 0;       // held for reuse
  int64_t peak_active_bytes = 0;  // maximum of active_bytes since the last reset_peak
  int64_t system_requests = 0;    // segments asked from the system so far
};

class CachingAllocator {
 public:
  static CachingAllocator& of(Device device);

  ~CachingAllocator();

  // A block of at least `bytes`, 64-byte aligned, not cleared. Throws Error(device) when the system
  // has none.
  void* allocate(size_t bytes);
  // Gives a block of allocate() back.
  void free(void* block);

  AllocatorCounters counters() const;
  void reset_peak();
  void release_cache();  // returns every wholly free segment to the system

 private:
  explicit CachingAllocator(Device device) : device_(device) {}

  struct Block {
    size_t size;
    bool free;
    bool first;  // starts a segment
  };
  using Blocks = std::map<std::byte*, Block>;

  Blocks::iterator take_segment(size_t size);  // mutex held, also below
  void split(Blocks::iterator block, size_t size);
  void set_free(Blocks::iterator block, bool free);
  bool is_segment(Blocks::iterator block) const;  // one block, the whole segment
  void merge_with_next(Blocks::iterator block);
  void release_free_segments();

  const Device device_;
  mutable std::mutex mutex_;
  Blocks blocks_;                                 // all, by address
  std::set<std::pair<size_t, std::byte*>> free_;  // free ones, by size
  AllocatorCounters counters_;
};

}  // namespace mono
