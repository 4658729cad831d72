// A fiber: a stack of its own that runs until it suspends itself. What the emulator makes every
// CUDA thread of.
//
// x86-64 switches stacks in a dozen instructions (10 ns); elsewhere ucontext does it (a system
// call, ten times slower). AddressSanitizer is told of every switch, and ThreadSanitizer sees each
// fiber as a thread, which makes it a race checker for kernels.
#pragma once

#include <cstddef>

#if defined(__SANITIZE_ADDRESS__)
#define MONO_ASAN 1
#endif
#if defined(__SANITIZE_THREAD__)
#define MONO_TSAN 1
#endif

namespace mono::simt {

class Fiber {
 public:
  // Sanitizers need more stack.
#if defined(MONO_ASAN) || defined(MONO_TSAN)
  static constexpr size_t kStackBytes = 256 * 1024;
#else
  static constexpr size_t kStackBytes = 64 * 1024;
#endif

  Fiber() = default;
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;
  ~Fiber();

  // The next resume() starts entry(argument) on a fresh stack; whatever was on it is abandoned.
  // entry ends by calling suspend() for the last time, never by returning.
  void start(void (*entry)(void*), void* argument);
  // Runs the fiber until it suspends. Not from within a fiber.
  void resume();
  // Back to whoever resumed the running fiber.
  void suspend(bool for_good = false);

  // Whether p lies in the guard page under the stack.
  bool in_guard_page(const void* p) const;

 private:
  static void first(Fiber* self);

  char* stack_ = nullptr;
  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  void* context_ = nullptr;  // stack pointer, or ucontext_t
  void* caller_ = nullptr;   // of the resumer
  // Sanitizers.
  void* fake_stack_ = nullptr;
  void* caller_fake_stack_ = nullptr;
  const void* caller_stack_ = nullptr;
  size_t caller_stack_bytes_ = 0;
  void* tsan_ = nullptr;
  void* caller_tsan_ = nullptr;

#if !defined(__x86_64__)
  friend void fiber_trampoline(unsigned high, unsigned low);
#endif
};

// Orders everything before release(p) in one fiber before everything after acquire(p) in another,
// for ThreadSanitizer; nothing otherwise.
void happens_before_release(void* p);
void happens_before_acquire(void* p);

}  // namespace mono::simt
