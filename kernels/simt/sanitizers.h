// What AddressSanitizer and ThreadSanitizer must be told about the emulator; empty in other builds.
//
// ThreadSanitizer is the race checker: every CUDA thread and every stream is a context of its own
// ("fiber" in its interface), and only what CUDA promises orders two of them. The emulator itself
// is compiled without its instrumentation (cmake/monolayer.cmake), with MONO_TSAN defined: it runs
// in the contexts of the threads that it serves. What an instruction does to memory on a thread's
// behalf is declared with read() and write().
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define MONO_ASAN 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MONO_ASAN 1
#endif
#endif

#if defined(MONO_ASAN)
#include <sanitizer/asan_interface.h>
#endif
#if defined(MONO_TSAN)
#include <sanitizer/tsan_interface.h>
extern "C" void __tsan_read_range_pc(void* p, unsigned long bytes, void* pc);
extern "C" void __tsan_write_range_pc(void* p, unsigned long bytes, void* pc);
#endif

namespace mono::simt {

// From here on nobody, or again somebody, may touch these bytes.
inline void poison([[maybe_unused]] void* p, [[maybe_unused]] size_t bytes) {
#if defined(MONO_ASAN)
  __asan_poison_memory_region(p, bytes);
#endif
}
inline void unpoison([[maybe_unused]] void* p, [[maybe_unused]] size_t bytes) {
#if defined(MONO_ASAN)
  __asan_unpoison_memory_region(p, bytes);
#endif
}

namespace race {

#if defined(MONO_TSAN)
inline constexpr bool kChecked = true;

inline void* create_context() {
  return __tsan_create_fiber(0);
}
inline void destroy_context(void* context) {
  if (context) __tsan_destroy_fiber(context);
}
inline void* current_context() {
  return __tsan_get_current_fiber();
}
// What follows happens in `context`; the change of context orders nothing.
inline void enter(void* context) {
  __tsan_switch_to_fiber(context, __tsan_switch_to_fiber_no_sync);
}
// Everything before release(p) in one context happens before everything after a later acquire(p).
inline void release(void* p) {
  __tsan_release(p);
}
inline void acquire(void* p) {
  __tsan_acquire(p);
}
// An access of the current context, reported at the program counter `where`.
inline void read(const void* p, size_t bytes, const void* where) {
  __tsan_read_range_pc(const_cast<void*>(p), bytes, const_cast<void*>(where));
}
inline void write(const void* p, size_t bytes, const void* where) {
  __tsan_write_range_pc(const_cast<void*>(p), bytes, const_cast<void*>(where));
}
#else
inline constexpr bool kChecked = false;

inline void* create_context() {
  return nullptr;
}
inline void destroy_context(void*) {}
inline void* current_context() {
  return nullptr;
}
inline void enter(void*) {}
inline void release(void*) {}
inline void acquire(void*) {}
inline void read(const void*, size_t, const void*) {}
inline void write(const void*, size_t, const void*) {}
#endif

}  // namespace race
}  // namespace mono::simt
