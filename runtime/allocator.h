// The caching allocator: memory of a device is asked from the system once and reused.
//
// Memory comes in segments. A request takes the smallest free block that holds it and splits off
// the rest; a freed block merges with its free neighbours. Training repeats the same requests every
// step, so after the first one the system is asked for nothing, no page is cleared again, and the
// footprint stays near the peak of live bytes. Wholly free segments go back to the system before a
// new one is taken, so that a change of sizes does not pile memory up.
//
// On a GPU all of this is in the order of its compute stream (stream.h): a block may be freed while
// kernels that use it still wait to run, since whoever gets it next comes after them on the stream.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <set>
#include <string>
#include <tuple>

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
  // Errors: a device that this build or machine does not have (device).
  static CachingAllocator& of(Device device);
  // Page-locked memory of the host, for copies to the GPU that overlap its work.
  static CachingAllocator& pinned();

  ~CachingAllocator();

  // A block of at least `bytes`, 64-byte aligned (256 on the GPU), not cleared. Throws
  // Error(device) when the system has none.
  void* allocate(size_t bytes);
  // Gives a block of allocate() back.
  void free(void* block) noexcept;

  AllocatorCounters counters() const;
  void reset_peak();
  void release_cache();  // returns every wholly free segment to the system

  // Pools: segments that serve some requests only. What a captured step allocates must not be
  // handed out to others while it can be replayed (graph.h).
  int open_pool();
  void use_pool(int pool);    // requests are served from it from now on; 0: the common one
  void close_pool(int pool);  // its segments join the common pool

 private:
  enum class Memory { host, pinned, gpu };
  explicit CachingAllocator(Memory memory);

  struct Block {
    size_t size;
    bool free;
    bool first;  // starts a segment
    int pool;
    size_t wanted = 0;  // bytes asked for
  };
  using Blocks = std::map<std::byte*, Block>;

  Blocks::iterator take_segment(size_t size);  // mutex held, also below
  void split(Blocks::iterator block, size_t size);
  void set_free(Blocks::iterator block, bool free);
  bool is_segment(Blocks::iterator block) const;  // one block, the whole segment
  void merge_with_next(Blocks::iterator block);
  void release_free_segments();
  std::byte* system_allocate(size_t bytes) const;
  void system_release(std::byte* segment, size_t bytes) const noexcept;
  std::string place() const;  // for messages

  const Memory memory_;
  const size_t alignment_, guard_;
  mutable std::mutex mutex_;
  Blocks blocks_;                                       // all, by address
  std::set<std::tuple<int, size_t, std::byte*>> free_;  // free ones, by pool and size
  int pool_ = 0, last_pool_ = 0;
  AllocatorCounters counters_;
};

}  // namespace mono
