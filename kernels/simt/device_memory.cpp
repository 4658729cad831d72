#include "kernels/simt/device_memory.h"

#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <map>
#include <memory>

#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "kernels/simt/emulator_run.h"
#include "kernels/simt/sanitizers.h"

namespace mono::simt::device_memory {
namespace {

constexpr size_t kReserved = size_t{1} << 36;
constexpr size_t kAlignment = 256;
constexpr unsigned char kFresh = 0xff, kGuard = 0xa5;

char* base = nullptr;
size_t high_water = 0;  // bytes from base on that were ever handed out
int open = 0;           // nested uses
// Never destroyed: objects with static storage use the device to the end.
using Pieces = std::map<size_t, size_t>;  // offset -> bytes
auto& taken = *new Pieces;
auto& holes = *new Pieces;
auto& guarded = *new std::map<char*, size_t>;  // allocations with guard bytes behind them

// A host access ends here, and so does a kernel that runs out of its stack. Says so, then leaves
// the signal to whoever had it before.
struct sigaction previous_action;

void on_segv(int, siginfo_t* info, void*) {
  char what[512] = "segmentation fault";
  const char* remedy = "";
  if (!describe_running_thread(info->si_addr, what, sizeof what) && contains(info->si_addr)) {
    std::snprintf(what, sizeof what, "the host touched device memory");
    remedy = "; copy it with Tensor::to(Device::cpu), or hand the work to a kernel";
  }
  char line[1024];
  const int length = std::snprintf(line, sizeof line, "emulated GPU: %s, at address %p%s\n", what,
                                   info->si_addr, remedy);
  [[maybe_unused]] const auto written = write(2, line, static_cast<size_t>(length));
  sigaction(SIGSEGV, &previous_action, nullptr);
}

// A stack for the handler where the thread has none: its own may be what ran out.
struct SignalStack {
  static constexpr size_t kBytes = 64 * 1024;
  std::unique_ptr<char[]> memory;
  SignalStack() {
    stack_t present{};
    sigaltstack(nullptr, &present);
    if (!(present.ss_flags & SS_DISABLE)) return;
    memory = std::make_unique<char[]>(kBytes);
    const stack_t mine{memory.get(), 0, kBytes};
    sigaltstack(&mine, nullptr);
  }
  ~SignalStack() {
    const stack_t none{nullptr, SS_DISABLE, 0};
    if (memory) sigaltstack(&none, nullptr);
  }
};

// The guard bytes in words: memset and memcmp would count as accesses for ThreadSanitizer, and push
// real ones out of its short memory of each address.
using Word = uint64_t;
constexpr Word kGuardWord = 0xa5a5a5a5a5a5a5a5u;
static_assert(gpu::kGuardBytes % sizeof(Word) == 0);
struct __attribute__((packed)) PackedWord {
  Word value;
};
PackedWord* guard_words(char* end) {
  return reinterpret_cast<PackedWord*>(end);
}
constexpr size_t kGuardWords = gpu::kGuardBytes / sizeof(Word);

void write_guard(char* end) {
  volatile PackedWord* const words = guard_words(end);
  for (size_t i = 0; i < kGuardWords; ++i) words[i].value = kGuardWord;
}
[[maybe_unused]] bool guard_intact(char* end) {
  Word differences = 0;
  for (size_t i = 0; i < kGuardWords; ++i) differences |= guard_words(end)[i].value ^ kGuardWord;
  return differences == 0;
}

void protect(int rights) {
  if (high_water) mprotect(base, high_water, rights);
}

}  // namespace

void initialise() {
  if (base) return;
  void* p = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MONO_CHECK(p != MAP_FAILED, "no addresses for the emulated GPU's memory");
  base = static_cast<char*>(p);
  holes[0] = kReserved;
  struct sigaction action {};
  action.sa_sigaction = on_segv;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, &previous_action);
}

void* allocate(size_t bytes) {
  bytes = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  for (auto hole = holes.begin(); hole != holes.end(); ++hole) {
    if (hole->second < bytes || hole->first + bytes > kBytes) continue;
    const auto [offset, size] = *hole;
    holes.erase(hole);
    if (size > bytes) holes[offset + bytes] = size - bytes;
    taken[offset] = bytes;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    const size_t end = (offset + bytes + page - 1) / page * page;
    if (end > high_water) {
      if (open) mprotect(base + high_water, end - high_water, PROT_READ | PROT_WRITE);
      high_water = end;
    }
    poison(base + offset, bytes);
    return base + offset;
  }
  return nullptr;
}

void release(void* block) {
  const auto at = taken.find(static_cast<size_t>(static_cast<char*>(block) - base));
  if (at == taken.end()) return;
  auto [offset, bytes] = *at;
  taken.erase(at);
  poison(block, bytes);
  // Merge with the holes on both sides.
  auto next = holes.lower_bound(offset);
  if (next != holes.end() && next->first == offset + bytes) {
    bytes += next->second;
    next = holes.erase(next);
  }
  if (next != holes.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  holes[offset] = bytes;
}

bool contains(const void* p) {
  const char* at = static_cast<const char*>(p);
  return base && at >= base && at < base + kReserved;
}

void mark_allocated(void* block, size_t bytes) {
  char* const p = static_cast<char*>(block);
  unpoison(p, bytes + gpu::kGuardBytes);
  std::memset(p, kFresh, bytes);
  write_guard(p + bytes);
  poison(p + bytes, gpu::kGuardBytes);
  guarded[p] = bytes;
}

void mark_free(void* block, size_t bytes) {
  guarded.erase(static_cast<char*>(block));
  unpoison(block, bytes);
  std::memset(block, kFresh, bytes);
  poison(block, bytes);
}

std::string broken_guard() {
#if !defined(MONO_ASAN)
  for (const auto& [block, bytes] : guarded) {
    if (guard_intact(block + bytes)) continue;
    size_t at = 0;
    while (static_cast<unsigned char>(block[bytes + at]) == kGuard) ++at;
    write_guard(block + bytes);  // reported once
    return fmt::format("wrote {} bytes behind an allocation of {} bytes", at, bytes);
  }
#endif
  return {};
}

Opened::Opened() {
  static thread_local SignalStack stack;
  if (open++ == 0) protect(PROT_READ | PROT_WRITE);
}

Opened::~Opened() {
  if (--open == 0) protect(PROT_NONE);
}

}  // namespace mono::simt::device_memory
