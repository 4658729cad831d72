// kernels/base/gpu.h on the emulator: memory that the host may not touch, and streams that are
// queues of work.
//
// Device memory is one reserved range of addresses without access rights; only while a kernel or
// copy runs is it open, so that a host that dereferences a device pointer dies with a message. A
// stream's work runs when somebody waits for it (or at once; simt::Schedule): both are legal on a
// GPU, and what depends on one of them is a missing event.
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "kernels/simt/emulator_run.h"
#include "kernels/simt/fiber.h"

#if defined(MONO_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace mono::gpu {
namespace {

constexpr size_t kReserved = size_t{1} << 36;
constexpr size_t kMemoryBytes = size_t{16} << 30;  // of the emulated device
constexpr size_t kAlignment = 256;
constexpr unsigned char kFresh = 0xff, kGuard = 0xa5;

// --- Memory --------------------------------------------------------------------------------------

struct DeviceMemory {
  char* base = nullptr;
  size_t high_water = 0;                  // bytes from base on that were ever handed out
  int open = 0;                           // nested uses
  std::map<size_t, size_t> taken, holes;  // offset -> bytes
  std::map<char*, size_t> guarded;        // allocations with guard bytes behind them
};
DeviceMemory memory;

// A host access ends here; so does a kernel that runs out of its stack.
void on_segv(int, siginfo_t* info, void*) {
  const char* at = static_cast<const char*>(info->si_addr);
  char text[256];
  int length = 0;
  if (at >= memory.base && at < memory.base + kReserved)
    length = std::snprintf(text, sizeof text,
                           "emulated GPU: the host touched device memory at %p; copy it with "
                           "Tensor::to(Device::cpu), or hand the work to a kernel\n",
                           info->si_addr);
  else
    length = std::snprintf(text, sizeof text,
                           "segmentation fault at %p (in a kernel on the emulator: perhaps more "
                           "local memory than its stack holds)\n",
                           info->si_addr);
  [[maybe_unused]] const auto written = write(2, text, static_cast<size_t>(length));
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
}

void initialise() {
  if (memory.base) return;
  void* p = mmap(nullptr, kReserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  MONO_CHECK(p != MAP_FAILED, "no addresses for the emulated GPU's memory");
  memory.base = static_cast<char*>(p);
  memory.holes[0] = kReserved;
  static char signal_stack[64 * 1024];
  const stack_t alternate{signal_stack, 0, sizeof signal_stack};
  sigaltstack(&alternate, nullptr);
  struct sigaction action {};
  action.sa_sigaction = on_segv;
  action.sa_flags = SA_SIGINFO | SA_ONSTACK;
  sigaction(SIGSEGV, &action, nullptr);
}

// Device memory may be used while one lives.
class Opened {
 public:
  Opened() {
    if (memory.open++ == 0) protect(PROT_READ | PROT_WRITE);
  }
  ~Opened() {
    if (--memory.open == 0) protect(PROT_NONE);
  }
  Opened(const Opened&) = delete;
  Opened& operator=(const Opened&) = delete;

 private:
  static void protect(int rights) {
    if (memory.high_water) mprotect(memory.base, memory.high_water, rights);
  }
};

bool on_device(const void* p) {
  const char* at = static_cast<const char*>(p);
  return memory.base && at >= memory.base && at < memory.base + kReserved;
}

void poison([[maybe_unused]] void* p, [[maybe_unused]] size_t bytes) {
#if defined(MONO_ASAN)
  __asan_poison_memory_region(p, bytes);
#endif
}
void unpoison([[maybe_unused]] void* p, [[maybe_unused]] size_t bytes) {
#if defined(MONO_ASAN)
  __asan_unpoison_memory_region(p, bytes);
#endif
}

// What the guard bytes say, after every piece of work. AddressSanitizer finds such writes itself.
std::string broken_guard() {
#if !defined(MONO_ASAN)
  for (const auto& [block, bytes] : memory.guarded)
    for (size_t i = 0; i < kGuardBytes; ++i)
      if (static_cast<unsigned char>(block[bytes + i]) != kGuard)
        return fmt::format("something wrote {} bytes behind an allocation of {} bytes", i, bytes);
#endif
  return {};
}

// --- Streams -------------------------------------------------------------------------------------

struct Queue;

// An event as recorded last: so many pieces of work of a queue.
struct EventState {
  Queue* queue = nullptr;
  uint64_t position = 0;
};

struct Work {
  std::function<void()> run;  // with device memory open, unless it waits for another stream
  bool waits = false;
};

struct Queue {
  std::deque<Work> pending;
  uint64_t enqueued = 0, done = 0;
  bool running = false;
  std::vector<Work>* capture = nullptr;
};

// One lock for all of the emulated device: the host may use it from several threads, one at a time.
std::recursive_mutex mutex;
std::set<Queue*> queues;

Queue& queue_of(Stream stream) {
  MONO_CHECK(stream.device == kGpu && stream.handle, "a GPU stream is needed, got one of the {}",
             name_of(stream.device));
  return *static_cast<Queue*>(stream.handle);
}

void run_until(Queue& queue, uint64_t position) {
  if (queue.running && queue.done < position)
    fail(ErrorKind::device, "emulated GPU: two streams wait for each other");
  queue.running = true;
  struct Leave {
    Queue& queue;
    ~Leave() { queue.running = false; }
  } leave{queue};
  while (queue.done < position) {
    const Work work = std::move(queue.pending.front());
    queue.pending.pop_front();
    ++queue.done;
    if (work.waits) {
      work.run();
      continue;
    }
    const Opened opened;
    work.run();
    if (const std::string broken = broken_guard(); !broken.empty())
      fail(ErrorKind::device, "emulated GPU: {}", broken);
  }
}

void enqueue(Stream stream, std::function<void()> run, bool waits = false) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (queue.capture) {
    queue.capture->push_back({std::move(run), waits});
    return;
  }
  queue.pending.push_back({std::move(run), waits});
  ++queue.enqueued;
  static const bool synchronous = std::getenv("MONO_SYNC_LAUNCH") != nullptr;
  if (synchronous || !simt::schedule().streams_late) run_until(queue, queue.enqueued);
}

}  // namespace

const Properties* properties(std::string*) {
  static const Properties emulated{"SIMT emulator", kMemoryBytes, 4, 9, 0, 227 * 1024};
  return &emulated;
}

void* allocate(size_t bytes) {
  const std::lock_guard lock(mutex);
  initialise();
  bytes = (std::max<size_t>(bytes, 1) + kAlignment - 1) / kAlignment * kAlignment;
  for (auto hole = memory.holes.begin(); hole != memory.holes.end(); ++hole) {
    if (hole->second < bytes || hole->first + bytes > kMemoryBytes) continue;
    const auto [offset, size] = *hole;
    memory.holes.erase(hole);
    if (size > bytes) memory.holes[offset + bytes] = size - bytes;
    memory.taken[offset] = bytes;
    const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
    memory.high_water = std::max(memory.high_water, (offset + bytes + page - 1) / page * page);
    return memory.base + offset;
  }
  return nullptr;
}

void release(void* block) noexcept {
  const std::lock_guard lock(mutex);
  const auto taken =
      memory.taken.find(static_cast<size_t>(static_cast<char*>(block) - memory.base));
  if (taken == memory.taken.end()) return;
  auto [offset, bytes] = *taken;
  memory.taken.erase(taken);
  // Merge with the holes on both sides.
  auto next = memory.holes.lower_bound(offset);
  if (next != memory.holes.end() && next->first == offset + bytes) {
    bytes += next->second;
    next = memory.holes.erase(next);
  }
  if (next != memory.holes.begin()) {
    const auto before = std::prev(next);
    if (before->first + before->second == offset) {
      before->second += bytes;
      return;
    }
  }
  memory.holes[offset] = bytes;
}

void* allocate_pinned(size_t bytes) {
  return std::aligned_alloc(kAlignment, (bytes + kAlignment - 1) / kAlignment * kAlignment);
}
void release_pinned(void* block) noexcept {
  std::free(block);
}

void mark_allocated(void* block, size_t bytes, Stream stream) {
  enqueue(stream, [block = static_cast<char*>(block), bytes] {
    unpoison(block, bytes);
    std::memset(block, kFresh, bytes);
    unpoison(block + bytes, kGuardBytes);
    std::memset(block + bytes, kGuard, kGuardBytes);
    poison(block + bytes, kGuardBytes);
    memory.guarded[block] = bytes;
  });
}
void mark_free(void* block, size_t bytes, Stream stream) noexcept {
  enqueue(stream, [block = static_cast<char*>(block), bytes] {
    memory.guarded.erase(block);
    unpoison(block, bytes);
    std::memset(block, kFresh, bytes);
    poison(block, bytes);
  });
}

Stream create_stream() {
  const std::lock_guard lock(mutex);
  initialise();
  auto* queue = new Queue;
  queues.insert(queue);
  return {kGpu, queue};
}
void destroy_stream(Stream stream) noexcept {
  const std::lock_guard lock(mutex);
  queues.erase(static_cast<Queue*>(stream.handle));
  delete static_cast<Queue*>(stream.handle);
}

void synchronize(Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (queue.capture)
    fail(ErrorKind::device, "emulated GPU: the host waits for a stream that is being captured");
  run_until(queue, queue.enqueued);
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  if (!on_device(to) && !on_device(from))
    fail(ErrorKind::device, "emulated GPU: a copy from host to host");
  enqueue(stream, [=] { std::memcpy(to, from, bytes); });
}
void fill(void* block, int byte, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  enqueue(stream, [=] { std::memset(block, byte, bytes); });
}

Event create_event() {
  return {new EventState};
}
void destroy_event(Event event) noexcept {
  delete static_cast<EventState*>(event.handle);
}
void record(Event event, Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  *static_cast<EventState*>(event.handle) = {&queue, queue.enqueued};
}
void wait(Stream stream, Event event) {
  const std::lock_guard lock(mutex);
  const EventState state = *static_cast<EventState*>(event.handle);
  if (!state.queue || state.queue == &queue_of(stream)) return;
  enqueue(
      stream,
      [state] {
        if (queues.contains(state.queue)) run_until(*state.queue, state.position);
      },
      true);
}
void synchronize(Event event) {
  const std::lock_guard lock(mutex);
  const EventState state = *static_cast<EventState*>(event.handle);
  if (state.queue && queues.contains(state.queue)) run_until(*state.queue, state.position);
}

void begin_capture(Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (queue.capture) fail(ErrorKind::device, "emulated GPU: the stream is being captured already");
  run_until(queue, queue.enqueued);
  queue.capture = new std::vector<Work>;
}
Graph end_capture(Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (!queue.capture) fail(ErrorKind::device, "emulated GPU: the stream is not being captured");
  return {std::exchange(queue.capture, nullptr)};
}
void replay(Graph graph, Stream stream) {
  const std::lock_guard lock(mutex);
  for (const Work& work : *static_cast<std::vector<Work>*>(graph.handle))
    enqueue(stream, work.run, work.waits);
}
void destroy_graph(Graph graph) noexcept {
  delete static_cast<std::vector<Work>*>(graph.handle);
}

}  // namespace mono::gpu

namespace mono::simt {

void enqueue_launch(Stream stream, std::string_view kernel, dim3 grid, dim3 block,
                    size_t dynamic_shared, std::function<void()> body) {
  gpu::enqueue(stream, [=, body = std::move(body)] {
    const std::string error = run_launch(kernel, grid, block, dynamic_shared, body);
    if (!error.empty()) fail(ErrorKind::device, "emulated GPU: {}", error);
  });
}

}  // namespace mono::simt
