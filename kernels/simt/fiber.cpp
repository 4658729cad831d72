#include "kernels/simt/fiber.h"

#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>

#include "kernels/base/error.h"

#if defined(MONO_ASAN)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(MONO_TSAN)
#include <sanitizer/tsan_interface.h>
#endif
#if !defined(__x86_64__)
#include <ucontext.h>
#endif

// The switch happens behind ThreadSanitizer's back: it is told separately.
#define MONO_NO_TSAN __attribute__((no_sanitize("thread")))

#if defined(__x86_64__)
// Saves the callee-saved registers and the stack pointer of the caller in *save, takes up `load`.
extern "C" void mono_simt_switch(void** save, void* load);
asm(R"(
.text
.globl mono_simt_switch
.hidden mono_simt_switch
.type mono_simt_switch,@function
mono_simt_switch:
  endbr64
  pushq %rbp
  pushq %rbx
  pushq %r12
  pushq %r13
  pushq %r14
  pushq %r15
  movq %rsp, (%rdi)
  movq %rsi, %rsp
  popq %r15
  popq %r14
  popq %r13
  popq %r12
  popq %rbx
  popq %rbp
  ret
.size mono_simt_switch,.-mono_simt_switch
)");
#endif

namespace mono::simt {
namespace {

size_t page_bytes() {
  static const size_t bytes = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  return bytes;
}

// Read by a fiber that starts: who it is.
Fiber* starting = nullptr;

}  // namespace

#if !defined(__x86_64__)
void fiber_trampoline(unsigned, unsigned) {
  Fiber::first(starting);
}
#endif

Fiber::~Fiber() {
#if defined(MONO_TSAN)
  if (tsan_) __tsan_destroy_fiber(tsan_);
#endif
#if !defined(__x86_64__)
  delete static_cast<ucontext_t*>(context_);
#endif
  if (stack_) munmap(stack_ - page_bytes(), kStackBytes + page_bytes());
}

MONO_NO_TSAN void Fiber::start(void (*entry)(void*), void* argument) {
  if (!stack_) {
    void* memory = mmap(nullptr, kStackBytes + page_bytes(), PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    MONO_CHECK(memory != MAP_FAILED, "no memory for the stack of an emulated thread");
    mprotect(memory, page_bytes(), PROT_NONE);
    stack_ = static_cast<char*>(memory) + page_bytes();
  }
#if defined(MONO_ASAN)
  __asan_unpoison_memory_region(stack_, kStackBytes);  // an abandoned frame leaves red zones behind
#endif
#if defined(MONO_TSAN)
  if (!tsan_) tsan_ = __tsan_create_fiber(0);
#endif
  entry_ = entry;
  argument_ = argument;
  fake_stack_ = nullptr;
#if defined(__x86_64__)
  void** sp = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--sp = nullptr;  // where first() would return to; keeps the stack 16-byte aligned at its entry
  *--sp = reinterpret_cast<void*>(+[] { first(starting); });
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  context_ = sp;
#else
  if (!context_) context_ = new ucontext_t;
  auto& context = *static_cast<ucontext_t*>(context_);
  getcontext(&context);
  context.uc_stack.ss_sp = stack_;
  context.uc_stack.ss_size = kStackBytes;
  context.uc_link = nullptr;
  makecontext(&context, reinterpret_cast<void (*)()>(fiber_trampoline), 2, 0u, 0u);
#endif
}

MONO_NO_TSAN void Fiber::first(Fiber* self) {
#if defined(MONO_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &self->caller_stack_, &self->caller_stack_bytes_);
#endif
  self->entry_(self->argument_);
  std::abort();  // entry suspends for good
}

MONO_NO_TSAN void Fiber::resume() {
  starting = this;
#if defined(MONO_ASAN)
  __sanitizer_start_switch_fiber(&caller_fake_stack_, stack_, kStackBytes);
#endif
#if defined(MONO_TSAN)
  caller_tsan_ = __tsan_get_current_fiber();
  __tsan_switch_to_fiber(tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  mono_simt_switch(&caller_, context_);
#else
  ucontext_t caller;
  caller_ = &caller;
  swapcontext(&caller, static_cast<ucontext_t*>(context_));
#endif
#if defined(MONO_ASAN)
  __sanitizer_finish_switch_fiber(caller_fake_stack_, nullptr, nullptr);
#endif
}

MONO_NO_TSAN void Fiber::suspend([[maybe_unused]] bool for_good) {
#if defined(MONO_ASAN)
  __sanitizer_start_switch_fiber(for_good ? nullptr : &fake_stack_, caller_stack_,
                                 caller_stack_bytes_);
#endif
#if defined(MONO_TSAN)
  __tsan_switch_to_fiber(caller_tsan_, __tsan_switch_to_fiber_no_sync);
#endif
#if defined(__x86_64__)
  mono_simt_switch(&context_, caller_);
#else
  swapcontext(static_cast<ucontext_t*>(context_), static_cast<ucontext_t*>(caller_));
#endif
#if defined(MONO_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack_, &caller_stack_, &caller_stack_bytes_);
#endif
}

bool Fiber::in_guard_page(const void* p) const {
  const char* at = static_cast<const char*>(p);
  return stack_ && at >= stack_ - page_bytes() && at < stack_;
}

MONO_NO_TSAN void happens_before_release([[maybe_unused]] void* p) {
#if defined(MONO_TSAN)
  __tsan_release(p);
#endif
}
MONO_NO_TSAN void happens_before_acquire([[maybe_unused]] void* p) {
#if defined(MONO_TSAN)
  __tsan_acquire(p);
#endif
}

}  // namespace mono::simt
