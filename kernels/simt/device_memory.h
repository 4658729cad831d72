// Memory of the emulated GPU: one reserved range of addresses without access rights. Only while
// work of a stream runs is it open, so that a host that dereferences a device pointer dies with a
// message. Fresh memory is NaN, guard bytes lie behind every allocation, and AddressSanitizer knows
// what belongs to nobody.
#pragma once

#include <cstddef>
#include <string>

namespace mono::simt::device_memory {

inline constexpr size_t kBytes = size_t{16} << 30;  // of the device

// Reserves the addresses and installs the signal handler; once.
void initialise();
// 256-byte aligned, or null.
void* allocate(size_t bytes);
void release(void* block);
bool contains(const void* p);

// The part of an allocation that belongs to somebody from now on, with gpu::kGuardBytes behind it;
// no longer.
void mark_allocated(void* block, size_t bytes);
void mark_free(void* block, size_t bytes);

// What was written behind an allocation, or nothing. AddressSanitizer sees such writes when they
// happen.
std::string broken_guard();

// Device memory may be used while one lives.
class Opened {
 public:
  Opened();
  ~Opened();
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;
};

}  // namespace mono::simt::device_memory
