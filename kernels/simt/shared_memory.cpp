#include "kernels/simt/shared_memory.h"

#include <sys/mman.h>

#include "kernels/base/error.h"
#include "kernels/simt/emulator_run.h"
#include "kernels/simt/sanitizers.h"

namespace mono::simt {
namespace {

constexpr unsigned char kPoison = 0xff;  // NaN in bf16, f32 and f64

}  // namespace

void SharedMemory::begin_block(size_t dynamic_bytes) {
  static_assert((2 + 32 * kWarpSyncs) * sizeof(Sync) <= kSyncBytes);
  if (race::kChecked && memory_) {
    munmap(memory_, bytes_);
    memory_ = nullptr;
  }
  if (!memory_) {  // addresses for ThreadSanitizer, then the objects
    bytes_ = (kSyncBytes + kStaticBytes + (race::kChecked ? dynamic_bytes : kLimit) + 4095) &
             ~size_t{4095};
    void* p = mmap(nullptr, bytes_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    MONO_CHECK(p != MAP_FAILED, "no memory for the emulator's shared memory");
    sync_ = static_cast<Sync*>(p);
    memory_ = static_cast<char*>(p);
    poison(memory_, bytes_);
    objects_.reserve(kObjects);
  } else {
    for (const Object& object : objects_) poison(memory_ + object.offset, object.bytes);
  }
  objects_.clear();
  used_ = kSyncBytes;
  dynamic_ = nullptr;
  if (dynamic_bytes > 0) dynamic_ = take(&dynamic_, dynamic_bytes, 128, {"dynamic", 0});
  static_bytes_ = 0;
}

char* SharedMemory::find(const void* key) const {
  for (const Object& object : objects_)
    if (object.key == key) return memory_ + object.offset;
  return nullptr;
}

char* SharedMemory::take(const void* key, size_t bytes, size_t alignment, Site site) {
  if (objects_.size() == kObjects) fault(site, "more than %zu objects in shared memory", kObjects);
  const size_t offset = (used_ + kFence + alignment - 1) / alignment * alignment;
  objects_.push_back({key, site, offset, bytes});
#if defined(MONO_ASAN)
  unpoison(memory_ + offset, bytes);
  std::memset(memory_ + offset, kPoison, bytes);
#else
  // From the last object's end to the fence behind this one.
  const size_t end = offset + bytes + kFence;
  if constexpr (race::kChecked) {  // not by memset: it would count as an access of this thread
    volatile char* p = memory_;
    for (size_t i = used_; i < end; ++i) p[i] = static_cast<char>(kPoison);
  } else {
    std::memset(memory_ + used_, kPoison, end - used_);
  }
#endif
  used_ = offset + bytes;
  static_bytes_ += bytes;
  return memory_ + offset;
}

bool SharedMemory::contains(const void* p, size_t bytes) const {
  const char* at = static_cast<const char*>(p);
  for (const Object& object : objects_)
    if (at >= memory_ + object.offset && at + bytes <= memory_ + object.offset + object.bytes)
      return true;
  return false;
}

std::string SharedMemory::broken_fence() const {
#if !defined(MONO_ASAN)
  const auto broken = [&](size_t from, size_t to) {
    for (size_t i = from; i < to; ++i)
      if (static_cast<unsigned char>(memory_[i]) != kPoison) return true;
    return false;
  };
  size_t end = kSyncBytes;
  for (const Object& object : objects_) {
    if (broken(end, object.offset))
      return fmt::format("something wrote before the {} bytes of shared memory of {}", object.bytes,
                         text(object.site));
    end = object.offset + object.bytes;
    if (broken(end, end + kFence))
      return fmt::format("something wrote behind the {} bytes of shared memory of {}", object.bytes,
                         text(object.site));
  }
#endif
  return {};
}

void* SharedMemory::warp_sync(int warp, Mask mask, bool out) {
  const Mask half = mask * 0x9e3779b1u >> 27;  // 5 bits of the mask, for masks that live together
  return sync_ + 2 + static_cast<size_t>(warp) * kWarpSyncs + 2 * half + out;
}

}  // namespace mono::simt
