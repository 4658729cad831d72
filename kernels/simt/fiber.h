// A fiber: a stack of its own that runs until it jumps to another one. What the emulator runs every
// CUDA thread on.
//
// x86-64 switches stacks in a dozen instructions (10 ns); elsewhere, and with MONO_SIMT_UCONTEXT,
// ucontext does it (a system call, ten times slower). AddressSanitizer is told of every switch, and
// for ThreadSanitizer each fiber is a context of its own.
#pragma once

#include <cstddef>

#include "kernels/simt/sanitizers.h"

namespace mono::simt {

class Fiber {
 public:
  // Sanitizers need more stack.
#if defined(MONO_ASAN) || defined(MONO_TSAN)
  static constexpr size_t kStackBytes = 256 * 1024;
#else
  static constexpr size_t kStackBytes = 64 * 1024;
#endif
  // Addresses without access rights below a stack: more than one large array skips over.
  static constexpr size_t kGuardBytes = 256 * 1024;

  // The code that runs now, as something to jump back to.
  Fiber() = default;
  // The first jump to it calls entry(argument), which never returns.
  Fiber(void (*entry)(void*), void* argument);
  ~Fiber();  // of one that does not run; what is on its stack is abandoned
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  // Suspends this fiber, which must be the one that runs, and goes on with another.
  void jump_to(Fiber& to);

  bool in_guard(const void* p) const;
  // What this suspended fiber did is released at p (race::release).
  void release_at(void* p) const;

 private:
  static void first();
#if defined(MONO_SIMT_UCONTEXT) || !defined(__x86_64__)
  static void first_in_ucontext() {
    first();
  }
#endif

  void (*entry_)(void*) = nullptr;
  void* argument_ = nullptr;
  void* context_ = nullptr;  // stack pointer, or ucontext_t
  char* stack_ = nullptr;    // of our own; null for the one that was there before
  // Sanitizers.
  const void* stack_bottom_ = nullptr;
  size_t stack_bytes_ = 0;
  void* fake_stack_ = nullptr;
  void* race_context_ = nullptr;
};

}  // namespace mono::simt
