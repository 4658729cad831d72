#include "runtime/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>

#include "kernels/base/error.h"

namespace mono {
namespace {

constexpr size_t kAlignment = 64;
// Small requests share segments of this size; larger ones get one of their own when none is free.
constexpr size_t kSegment = size_t{2} << 20;
// A rest smaller than this share of the block stays with it.
constexpr size_t kSplitShare = 64;

size_t rounded(size_t bytes, size_t step) {
  return std::max(step, (bytes + step - 1) / step * step);
}

std::byte* system_allocate(size_t bytes) {
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? nullptr : static_cast<std::byte*>(block);
}

}  // namespace

CachingAllocator& CachingAllocator::of(Device device) {
  if (device != Device::cpu)
    fail(ErrorKind::device, "this build has no device '{}'; use --device cpu", name_of(device));
  static CachingAllocator cpu(Device::cpu);
  return cpu;
}

CachingAllocator::~CachingAllocator() {
  release_free_segments();
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = rounded(bytes, kAlignment);
  std::lock_guard lock(mutex_);
  const auto fit = free_.lower_bound({size, nullptr});
  const Blocks::iterator block =
      fit != free_.end() ? blocks_.find(fit->second) : take_segment(size);
  split(block, size);
  set_free(block, false);
  const int64_t granted = static_cast<int64_t>(block->second.size);
  counters_.active_bytes += granted;
  counters_.cached_bytes -= granted;
  counters_.peak_active_bytes = std::max(counters_.peak_active_bytes, counters_.active_bytes);
  return block->first;
}

void CachingAllocator::free(void* pointer) {
  std::lock_guard lock(mutex_);
  Blocks::iterator block = blocks_.find(static_cast<std::byte*>(pointer));
  const int64_t size = static_cast<int64_t>(block->second.size);
  counters_.active_bytes -= size;
  counters_.cached_bytes += size;
  set_free(block, true);
  merge_with_next(block);
  if (!block->second.first && std::prev(block)->second.free) merge_with_next(std::prev(block));
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
  release_free_segments();
}

CachingAllocator::Blocks::iterator CachingAllocator::take_segment(size_t size) {
  release_free_segments();
  const size_t bytes = rounded(size, size < kSegment ? kSegment : 4096);
  std::byte* segment = system_allocate(bytes);
  if (!segment)
    fail(ErrorKind::device,
         "out of memory on {}: {} bytes wanted beside {} in use; use a smaller batch.group_size "
         "or data.image_size",
         name_of(device_), size, counters_.active_bytes);
  ++counters_.system_requests;
  counters_.cached_bytes += static_cast<int64_t>(bytes);
  const auto block = blocks_.emplace(segment, Block{bytes, false, true}).first;
  set_free(block, true);
  return block;
}

void CachingAllocator::split(Blocks::iterator block, size_t size) {
  const size_t rest = block->second.size - size;
  if (rest < std::max(kAlignment, size / kSplitShare)) return;
  set_free(block, false);
  block->second.size = size;
  set_free(blocks_.emplace(block->first + size, Block{rest, false, false}).first, true);
}

void CachingAllocator::set_free(Blocks::iterator block, bool free) {
  block->second.free = free;
  if (free)
    free_.insert({block->second.size, block->first});
  else
    free_.erase({block->second.size, block->first});
}

void CachingAllocator::merge_with_next(Blocks::iterator block) {
  const auto next = std::next(block);
  if (next == blocks_.end() || next->second.first || !next->second.free) return;
  set_free(block, false);
  set_free(next, false);
  block->second.size += next->second.size;
  blocks_.erase(next);
  set_free(block, true);
}

bool CachingAllocator::is_segment(Blocks::iterator block) const {
  const auto next = std::next(block);
  return block->second.first && (next == blocks_.end() || next->second.first);
}

void CachingAllocator::release_free_segments() {
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    const auto next = std::next(block);
    if (block->second.free && is_segment(block)) {
      set_free(block, false);
      counters_.cached_bytes -= static_cast<int64_t>(block->second.size);
      munmap(block->first, block->second.size);
      blocks_.erase(block);
    }
    block = next;
  }
}

}  // namespace mono
