#include "runtime/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <iterator>

#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "runtime/graph.h"
#include "runtime/stream.h"

namespace mono {
namespace {

// Small requests share segments of this size; larger ones get one of their own when none is free.
constexpr size_t kSegment = size_t{2} << 20;
// A rest smaller than this share of the block stays with it.
constexpr size_t kSplitShare = 64;

size_t rounded(size_t bytes, size_t step) {
  return std::max(step, (bytes + step - 1) / step * step);
}

double megabytes(int64_t bytes) {
  return static_cast<double>(bytes) / 1048576;
}

}  // namespace

CachingAllocator& CachingAllocator::of(Device device) {
  if (device != Device::cpu) {
    compute_stream(device);  // fails where there is no such device
    // Never destroyed: the device may be gone by then, and its memory goes with the process.
    static CachingAllocator* const gpu = new CachingAllocator(Memory::gpu);
    return *gpu;
  }
  static CachingAllocator cpu(Memory::host);
  return cpu;
}

CachingAllocator& CachingAllocator::pinned() {
  static CachingAllocator* const pinned = new CachingAllocator(Memory::pinned);
  return *pinned;
}

CachingAllocator::CachingAllocator(Memory memory)
    : memory_(memory),
      alignment_(memory == Memory::host ? 64 : 256),
      guard_(memory == Memory::gpu ? gpu::kGuardBytes : 0) {}

CachingAllocator::~CachingAllocator() {
  release_free_segments();
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t size = rounded(bytes + guard_, alignment_);
  const std::lock_guard lock(mutex_);
  const auto fit = free_.lower_bound({pool_, size, nullptr});
  const Blocks::iterator block = fit != free_.end() && std::get<0>(*fit) == pool_
                                     ? blocks_.find(std::get<2>(*fit))
                                     : take_segment(size);
  split(block, size);
  set_free(block, false);
  block->second.wanted = bytes;
  const int64_t granted = static_cast<int64_t>(block->second.size);
  counters_.active_bytes += granted;
  counters_.cached_bytes -= granted;
  counters_.peak_active_bytes = std::max(counters_.peak_active_bytes, counters_.active_bytes);
  if (memory_ == Memory::gpu) gpu::mark_allocated(block->first, bytes, compute_stream(kGpu));
  return block->first;
}

void CachingAllocator::free(void* pointer) noexcept {
  const std::lock_guard lock(mutex_);
  Blocks::iterator block = blocks_.find(static_cast<std::byte*>(pointer));
  if (memory_ == Memory::gpu)
    gpu::mark_free(block->first, block->second.wanted, compute_stream(kGpu));
  const int64_t size = static_cast<int64_t>(block->second.size);
  counters_.active_bytes -= size;
  counters_.cached_bytes += size;
  set_free(block, true);
  merge_with_next(block);
  if (!block->second.first && std::prev(block)->second.free) merge_with_next(std::prev(block));
}

AllocatorCounters CachingAllocator::counters() const {
  const std::lock_guard lock(mutex_);
  return counters_;
}

void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  counters_.peak_active_bytes = counters_.active_bytes;
}

void CachingAllocator::release_cache() {
  const std::lock_guard lock(mutex_);
  release_free_segments();
}

int CachingAllocator::open_pool() {
  const std::lock_guard lock(mutex_);
  return ++last_pool_;
}

void CachingAllocator::use_pool(int pool) {
  const std::lock_guard lock(mutex_);
  pool_ = pool;
}

void CachingAllocator::close_pool(int pool) {
  const std::lock_guard lock(mutex_);
  for (auto block = blocks_.begin(); block != blocks_.end(); ++block) {
    if (block->second.pool != pool) continue;
    const bool free = block->second.free;
    if (free) set_free(block, false);
    block->second.pool = 0;
    if (free) set_free(block, true);
  }
}

CachingAllocator::Blocks::iterator CachingAllocator::take_segment(size_t size) {
  if (!Graph::capturing()) release_free_segments();  // waits, which a recorded step must not
  const size_t bytes = rounded(size, size < kSegment ? kSegment : 4096);
  std::byte* segment = system_allocate(bytes);
  if (!segment)
    fail(ErrorKind::device,
         "out of memory on {}: {:.1f} MB wanted beside {:.1f} MB in use and {:.1f} MB held for "
         "reuse; use a smaller batch or smaller images",
         place(), megabytes(static_cast<int64_t>(size)), megabytes(counters_.active_bytes),
         megabytes(counters_.cached_bytes));
  ++counters_.system_requests;
  counters_.cached_bytes += static_cast<int64_t>(bytes);
  const auto block = blocks_.emplace(segment, Block{bytes, false, true, pool_}).first;
  set_free(block, true);
  return block;
}

void CachingAllocator::split(Blocks::iterator block, size_t size) {
  const size_t rest = block->second.size - size;
  if (rest < std::max(alignment_, size / kSplitShare)) return;
  set_free(block, false);
  block->second.size = size;
  const Block tail{rest, false, false, block->second.pool};
  set_free(blocks_.emplace(block->first + size, tail).first, true);
}

void CachingAllocator::set_free(Blocks::iterator block, bool free) {
  block->second.free = free;
  if (free)
    free_.insert({block->second.pool, block->second.size, block->first});
  else
    free_.erase({block->second.pool, block->second.size, block->first});
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

// Segments of a pool in use stay: a recorded step refers to them.
void CachingAllocator::release_free_segments() {
  bool waited = false;
  for (auto block = blocks_.begin(); block != blocks_.end();) {
    const auto next = std::next(block);
    if (block->second.free && block->second.pool == 0 && is_segment(block)) {
      // Work that was enqueued before the block was freed may still run.
      if (memory_ == Memory::gpu && !std::exchange(waited, true)) synchronize(compute_stream(kGpu));
      set_free(block, false);
      counters_.cached_bytes -= static_cast<int64_t>(block->second.size);
      system_release(block->first, block->second.size);
      blocks_.erase(block);
    }
    block = next;
  }
}

std::byte* CachingAllocator::system_allocate(size_t bytes) const {
  if (memory_ == Memory::gpu) return static_cast<std::byte*>(gpu::allocate(bytes));
  if (memory_ == Memory::pinned) return static_cast<std::byte*>(gpu::allocate_pinned(bytes));
  void* block = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  return block == MAP_FAILED ? nullptr : static_cast<std::byte*>(block);
}

void CachingAllocator::system_release(std::byte* segment, size_t bytes) const noexcept {
  if (memory_ == Memory::gpu)
    gpu::release(segment);
  else if (memory_ == Memory::pinned)
    gpu::release_pinned(segment);
  else
    munmap(segment, bytes);
}

std::string CachingAllocator::place() const {
  if (memory_ == Memory::host) return "cpu";
  if (memory_ == Memory::pinned) return "cpu (page-locked memory)";
  const gpu::Properties& properties = *gpu::properties();
  return fmt::format("{} ({}, {:.0f} MB)", name_of(kGpu), properties.name,
                     megabytes(static_cast<int64_t>(properties.memory_bytes)));
}

}  // namespace mono
