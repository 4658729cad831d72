#include "runtime/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdlib>

#include "kernels/base/error.h"

namespace mono {
namespace {

constexpr size_t kLarge = size_t{1} << 20;  // from here on a block is a mapping of its own

size_t rounded(size_t bytes) {
  const size_t step = bytes >= kLarge ? 4096 : 64;
  return std::max(step, (bytes + step - 1) / step * step);
}

void* system_allocate(size_t bytes) {
  if (bytes < kLarge) return std::aligned_alloc(64, bytes);
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? nullptr : block;
}

void system_free(void* block, size_t bytes) {
  if (bytes < kLarge)
    std::free(block);
  else
    munmap(block, bytes);
}

}  // namespace

CachingAllocator& CachingAllocator::of(Device device) {
  if (device != Device::cpu)
    fail(ErrorKind::device, "this build has no device '{}'; use --device cpu", name_of(device));
  static CachingAllocator cpu(Device::cpu);
  return cpu;
}

CachingAllocator::~CachingAllocator() {
  release_until(0);
}

void* CachingAllocator::allocate(size_t bytes, size_t& granted) {
  const size_t wanted = rounded(bytes);
  std::lock_guard lock(mutex_);
  void* block = nullptr;
  const auto found = cache_.lower_bound(wanted);
  if (found != cache_.end() && found->first <= wanted + wanted / 8) {
    granted = found->first;
    block = found->second;
    counters_.cached_bytes -= static_cast<int64_t>(granted);
    cache_.erase(found);
  } else {
    const int64_t size = static_cast<int64_t>(wanted);
    const int64_t ceiling = std::max(counters_.peak_active_bytes, counters_.active_bytes + size);
    release_until(ceiling - counters_.active_bytes - size);
    block = system_allocate(wanted);
    if (!block) {
      release_until(0);
      block = system_allocate(wanted);
    }
    if (!block)
      fail(ErrorKind::device,
           "out of memory on {}: {} bytes wanted beside {} in use; use a smaller batch.group_size "
           "or data.image_size",
           name_of(device_), wanted, counters_.active_bytes);
    granted = wanted;
    ++counters_.system_requests;
  }
  counters_.active_bytes += static_cast<int64_t>(granted);
  counters_.peak_active_bytes = std::max(counters_.peak_active_bytes, counters_.active_bytes);
  return block;
}

void CachingAllocator::free(void* block, size_t granted) {
  std::lock_guard lock(mutex_);
  counters_.active_bytes -= static_cast<int64_t>(granted);
  counters_.cached_bytes += static_cast<int64_t>(granted);
  cache_.emplace(granted, block);
}

AllocatorCounters CachingAllocator::counters() const {
  std::lock_guard lock(mutex_);
  return counters_;
}

void CachingAllocator::reset_peak() {
  std::lock_guard lock(mutex_);
  counters_.peak_active_bytes = counters_.active_bytes;
}

void CachingAllocator::release_cache() {
  std::lock_guard lock(mutex_);
  release_until(0);
}

void CachingAllocator::release_until(int64_t limit) {
  while (!cache_.empty() && counters_.cached_bytes > std::max<int64_t>(limit, 0)) {
    const auto largest = std::prev(cache_.end());
    system_free(largest->second, largest->first);
    counters_.cached_bytes -= static_cast<int64_t>(largest->first);
    cache_.erase(largest);
  }
}

}  // namespace mono
