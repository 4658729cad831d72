#include "kernels/simt/fiber.h"

#include <sys/mman.h>

#include <cstdlib>

#include "kernels/base/error.h"

#if defined(MONO_ASAN)
#include <sanitizer/common_interface_defs.h>
#endif

#if defined(__x86_64__) && !defined(MONO_SIMT_UCONTEXT)
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
.section .note.GNU-stack,"",@progbits
.text
)");
#else
#include <ucontext.h>
#define MONO_UCONTEXT 1
#endif

namespace mono::simt {
namespace {

// The two sides of the jump that is under way.
Fiber* leaving = nullptr;
Fiber* arriving = nullptr;

}  // namespace

Fiber::Fiber(void (*entry)(void*), void* argument) : entry_(entry), argument_(argument) {
  void* memory = mmap(nullptr, kStackBytes + kGuardBytes, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MONO_CHECK(memory != MAP_FAILED, "no memory for the stack of an emulated thread");
  mprotect(memory, kGuardBytes, PROT_NONE);
  stack_ = static_cast<char*>(memory) + kGuardBytes;
  stack_bottom_ = stack_;
  stack_bytes_ = kStackBytes;
  race_context_ = race::create_context();
#if defined(MONO_UCONTEXT)
  auto* context = new ucontext_t;
  getcontext(context);
  context->uc_stack.ss_sp = stack_;
  context->uc_stack.ss_size = kStackBytes;
  context->uc_link = nullptr;
  makecontext(context, first_in_ucontext, 0);
  context_ = context;
#else
  void** sp = reinterpret_cast<void**>(stack_ + kStackBytes);
  *--sp = nullptr;  // where first() would return to; keeps the stack 16-byte aligned at its entry
  *--sp = reinterpret_cast<void*>(&Fiber::first);
  for (int i = 0; i < 6; ++i) *--sp = nullptr;
  context_ = sp;
#endif
}

Fiber::~Fiber() {
  if (stack_) {
    race::destroy_context(race_context_);
    unpoison(stack_, kStackBytes);  // abandoned frames leave red zones behind
    munmap(stack_ - kGuardBytes, kStackBytes + kGuardBytes);
  }
#if defined(MONO_UCONTEXT)
  delete static_cast<ucontext_t*>(context_);
#endif
}

void Fiber::first() {
  Fiber& self = *arriving;
#if defined(MONO_ASAN)
  __sanitizer_finish_switch_fiber(nullptr, &leaving->stack_bottom_, &leaving->stack_bytes_);
#endif
  self.entry_(self.argument_);
  std::abort();
}

void Fiber::jump_to(Fiber& to) {
  leaving = this;
  arriving = &to;
  if (!stack_) race_context_ = race::current_context();
#if defined(MONO_ASAN)
  __sanitizer_start_switch_fiber(&fake_stack_, to.stack_bottom_, to.stack_bytes_);
#endif
  race::enter(to.race_context_);
#if defined(MONO_UCONTEXT)
  if (!context_) context_ = new ucontext_t;
  swapcontext(static_cast<ucontext_t*>(context_), static_cast<const ucontext_t*>(to.context_));
#else
  mono_simt_switch(&context_, to.context_);
#endif
#if defined(MONO_ASAN)
  __sanitizer_finish_switch_fiber(fake_stack_, &leaving->stack_bottom_, &leaving->stack_bytes_);
#endif
}

bool Fiber::in_guard(const void* p) const {
  const char* at = static_cast<const char*>(p);
  return stack_ && at >= stack_ - kGuardBytes && at < stack_;
}

void Fiber::release_at(void* p) const {
  void* const now = race::current_context();
  race::enter(race_context_);
  race::release(p);
  race::enter(now);
}

}  // namespace mono::simt
