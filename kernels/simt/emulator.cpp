// The scheduler: one launch at a time, its blocks one after another, each thread of a block a fiber
// that runs until it waits at a barrier or for the lanes of its warp.
#include "kernels/simt/emulator.h"

#include <sys/mman.h>

#include <charconv>
#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/simt/emulator_run.h"
#include "kernels/simt/fiber.h"

#define MONO_NO_TSAN __attribute__((no_sanitize("thread")))

#if defined(MONO_ASAN)
#include <sanitizer/asan_interface.h>
#endif

namespace mono::simt {
namespace {

constexpr size_t kStaticSharedLimit = 48 * 1024, kSharedLimit = 227 * 1024;
constexpr size_t kSharedFence = 64;
constexpr unsigned char kPoison = 0xff;  // NaN in bf16, f32 and f64

struct Copy {
  void* shared;
  const void* global;
  int bytes, valid;
};

enum class State : uint8_t { ready, block_barrier, warp_collective, exited };

struct Thread {
  Fiber fiber;
  uint3 index{};
  State state = State::exited;
  Site site{};  // where it waits
  int barriers = 0;
  bool barrier_predicate = false;
  // In a warp collective:
  const char* kind = nullptr;
  Mask mask = 0;
  const void* in = nullptr;
  void* out = nullptr;
  // cp.async: copies since the last commit, and the groups before that.
  std::vector<Copy> open;
  std::deque<std::vector<Copy>> groups;
};

struct SharedObject {
  Site site;
  size_t offset, bytes;
};

// The launch that runs.
struct Launch {
  std::string_view kernel;
  dim3 grid, block;
  size_t dynamic_shared = 0;
  const std::function<void()>* body = nullptr;
};

// Shared memory of one block. ThreadSanitizer gets fresh pages for every block, so that it does not
// take two blocks' use of the same address for a race.
class SharedMemory {
 public:
  static constexpr size_t kBytes = 512 * 1024;
  void begin_block() {
#if defined(MONO_TSAN)
    if (memory_) munmap(memory_, kBytes);
    memory_ = nullptr;
#endif
    if (!memory_) {
      void* p = mmap(nullptr, kBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
      MONO_CHECK(p != MAP_FAILED, "no memory for the emulator's shared memory");
      memory_ = static_cast<char*>(p);
    }
    used_ = 0;
    objects_.clear();
#if defined(MONO_ASAN)
    __asan_poison_memory_region(memory_, kBytes);
#endif
  }
  char* take(size_t bytes, size_t alignment, Site site) {
    size_t offset = used_ + kSharedFence;
    offset = (offset + alignment - 1) / alignment * alignment;
    objects_.push_back({site, offset, bytes});
    used_ = offset + bytes;
#if defined(MONO_ASAN)
    __asan_unpoison_memory_region(memory_ + offset, bytes);
#endif
    fill(offset, bytes);
    return memory_ + offset;
  }
  char* find(Site site) {
    for (const SharedObject& object : objects_)
      if (object.site.line == site.line && object.site.file == site.file)
        return memory_ + object.offset;
    return nullptr;
  }
  // The site of an object whose fence was written over, or null.
  const SharedObject* broken_fence() const {
#if !defined(MONO_ASAN)
    for (const SharedObject& object : objects_)
      for (size_t i = 0; i < kSharedFence; ++i)
        if (static_cast<unsigned char>(memory_[object.offset + object.bytes + i]) != kPoison)
          return &object;
#endif
    return nullptr;
  }
  bool contains(const void* p, size_t bytes) const {
    const char* at = static_cast<const char*>(p);
    for (const SharedObject& object : objects_)
      if (at >= memory_ + object.offset && at + bytes <= memory_ + object.offset + object.bytes)
        return true;
    return false;
  }

 private:
  MONO_NO_TSAN void fill(size_t offset, size_t bytes) {
#if defined(MONO_ASAN)
    std::memset(memory_ + offset, kPoison, bytes);
#else
    // With the fences. Byte by byte through volatile: nobody's access, for ThreadSanitizer.
    volatile char* p = memory_ + offset;
    for (size_t i = 0; i < bytes + kSharedFence; ++i) p[i] = static_cast<char>(kPoison);
#endif
  }
  char* memory_ = nullptr;
  size_t used_ = 0;
  std::vector<SharedObject> objects_;
};

struct Engine {
  Launch launch;
  std::vector<std::unique_ptr<Thread>> threads;
  int count = 0;              // threads of a block
  std::vector<int> order;     // of threads
  Thread* current = nullptr;  // null: the scheduler runs
  SharedMemory shared;
  char* dynamic = nullptr;
  size_t static_bytes = 0;
  int barrier_sum = 0;
  std::string error;
  uint64_t switches = 0;
  uint64_t shuffle_state = 0;
};
Engine engine;

std::string text(Site site) {
  const char* file = site.file ? site.file : "?";
  if (const char* kernels = std::strstr(file, "kernels/")) file = kernels;
  if (const char* tests = std::strstr(file, "tests/")) file = tests;
  return fmt::format("{}:{}", file, site.line);
}

std::string text(const dim3& d) {
  return fmt::format("({}, {}, {})", d.x, d.y, d.z);
}

std::string place() {
  std::string where = fmt::format("kernel {}, grid {}, block {}", engine.launch.kernel,
                                  text(engine.launch.grid), text(engine.launch.block));
  where += fmt::format("; in block ({}, {}, {})", blockIdx.x, blockIdx.y, blockIdx.z);
  if (engine.current)
    where += fmt::format(", thread ({}, {}, {})", engine.current->index.x, engine.current->index.y,
                         engine.current->index.z);
  return where;
}

// Up to three threads that wait, for a report.
std::string waiting_threads() {
  std::string list;
  int named = 0, waiting = 0;
  for (int i = 0; i < engine.count; ++i) {
    const Thread& t = *engine.threads[i];
    if (t.state == State::exited) continue;
    if (++waiting && named < 3) {
      ++named;
      const std::string what = t.state == State::block_barrier
                                   ? fmt::format("__syncthreads (its barrier #{})", t.barriers)
                                   : fmt::format("{} with mask {:#010x}", t.kind, t.mask);
      list += fmt::format("\n  thread {} waits in {} at {}", i, what, text(t.site));
    }
  }
  return fmt::format("{} of {} threads wait:{}", waiting, engine.count, list);
}

[[noreturn]] MONO_NO_TSAN void give_up(std::string message) {
  engine.error = std::move(message);
  if (engine.current) {
    engine.current->state = State::exited;
    engine.current->fiber.suspend(true);
  }
  std::abort();
}

MONO_NO_TSAN void thread_body(void*) {
  Thread& self = *engine.current;
  happens_before_acquire(&engine.launch);
  try {
    (*engine.launch.body)();
  } catch (const std::exception& e) {
    engine.error = fmt::format("{}: {}", place(), e.what());
  }
  happens_before_release(&engine.barrier_sum);
  if (engine.error.empty() && !(self.open.empty() && self.groups.empty()))
    engine.error =
        fmt::format("{}: the thread ends with cp.async copies that nobody waited for", place());
  self.state = State::exited;
  self.fiber.suspend(true);
}

uint64_t next_random(uint64_t& state) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// 0 .. n-1 in the schedule's order.
std::vector<int> ordered(int64_t n, uint64_t& state) {
  std::vector<int> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  if (schedule().order == Schedule::Order::reverse) std::reverse(order.begin(), order.end());
  if (schedule().order == Schedule::Order::shuffled)
    for (int64_t i = n - 1; i > 0; --i)
      std::swap(order[static_cast<size_t>(i)],
                order[next_random(state) % static_cast<uint64_t>(i + 1)]);
  return order;
}

MONO_NO_TSAN void switch_to(Thread& thread) {
  engine.current = &thread;
  threadIdx = thread.index;
  ++engine.switches;
  thread.fiber.resume();
  engine.current = nullptr;
}

// All threads that have not exited wait at the same barrier: lets them go.
MONO_NO_TSAN void release_block_barrier() {
  const Thread* first = nullptr;
  int first_index = 0;
  engine.barrier_sum = 0;
  for (int i = 0; i < engine.count; ++i) {
    const Thread& t = *engine.threads[i];
    if (t.state == State::exited) continue;
    if (!first) {
      first = &t;
      first_index = i;
    }
    if (t.site.line != first->site.line || t.barriers != first->barriers) {
      engine.error = fmt::format(
          "{}: divergent __syncthreads: thread {} is at {} (its barrier #{}) while thread {} is at "
          "{} (#{})",
          place(), i, text(t.site), t.barriers, first_index, text(first->site), first->barriers);
      return;
    }
    engine.barrier_sum += t.barrier_predicate;
  }
  for (int i = 0; i < engine.count; ++i)
    if (engine.threads[i]->state == State::block_barrier) engine.threads[i]->state = State::ready;
}

MONO_NO_TSAN void run_block() {
  engine.shared.begin_block();
  engine.static_bytes = 0;
  engine.dynamic = engine.launch.dynamic_shared > 0
                       ? engine.shared.take(engine.launch.dynamic_shared, 128, {"dynamic", 0})
                       : nullptr;
  for (int i = 0; i < engine.count; ++i) {
    Thread& t = *engine.threads[i];
    t.state = State::ready;
    t.barriers = 0;
    t.open.clear();
    t.groups.clear();
    t.fiber.start(thread_body, nullptr);
  }
  for (;;) {
    bool progress = false, left = false;
    for (const int i : engine.order) {
      Thread& t = *engine.threads[i];
      if (t.state == State::ready) {
        progress = true;
        switch_to(t);
        if (!engine.error.empty()) return;
      }
      left |= t.state != State::exited;
    }
    if (!left) break;
    if (progress) continue;
    bool all_at_barrier = true;
    for (int i = 0; i < engine.count; ++i)
      all_at_barrier &= engine.threads[i]->state == State::block_barrier ||
                        engine.threads[i]->state == State::exited;
    if (!all_at_barrier)
      engine.error = fmt::format("{}: deadlock, {}", place(), waiting_threads());
    else
      release_block_barrier();
    if (!engine.error.empty()) return;
  }
  if (const SharedObject* object = engine.shared.broken_fence())
    engine.error = fmt::format("{}: something wrote behind the {} bytes of shared memory of {}",
                               place(), object->bytes, text(object->site));
}

// Performs a cp.async copy.
MONO_NO_TSAN void perform(const Copy& copy) {
  if (copy.valid > 0) std::memcpy(copy.shared, copy.global, static_cast<size_t>(copy.valid));
  std::memset(static_cast<char*>(copy.shared) + copy.valid, 0,
              static_cast<size_t>(copy.bytes - copy.valid));
}

Thread& self(const char* what) {
  MONO_CHECK(engine.current, "{} outside of a kernel", what);
  return *engine.current;
}

// Waits until the scheduler makes this thread ready again.
MONO_NO_TSAN void wait_as(Thread& thread, State state, Site site) {
  thread.state = state;
  thread.site = site;
  thread.fiber.suspend();
}

}  // namespace

std::string run_launch(std::string_view kernel, dim3 grid, dim3 block, size_t dynamic_shared,
                       const std::function<void()>& body) {
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads < 1 || threads > 1024 || block.z > 64)
    return fmt::format("kernel {}: a block of {} has {} threads; 1 to 1024 are possible", kernel,
                       text(block), threads);
  if (grid.y > 65535 || grid.z > 65535)
    return fmt::format("kernel {}: grid {}: y and z are at most 65535", kernel, text(grid));
  if (dynamic_shared > kSharedLimit)
    return fmt::format("kernel {}: {} bytes of dynamic shared memory, at most {} are possible",
                       kernel, dynamic_shared, kSharedLimit);
  engine.launch = {kernel, grid, block, dynamic_shared, &body};
  engine.count = static_cast<int>(threads);
  while (engine.threads.size() < threads) engine.threads.push_back(std::make_unique<Thread>());
  for (unsigned i = 0; i < threads; ++i)
    engine.threads[i]->index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
  gridDim = grid;
  blockDim = block;
  engine.error.clear();
  engine.shuffle_state = schedule().seed;
  happens_before_release(&engine.launch);
  for (const int b : ordered(int64_t{grid.x} * grid.y * grid.z, engine.shuffle_state)) {
    const unsigned i = static_cast<unsigned>(b);
    blockIdx = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
    engine.order = ordered(engine.count, engine.shuffle_state);
    run_block();
    if (!engine.error.empty()) break;
  }
  happens_before_acquire(&engine.barrier_sum);
  return engine.error;
}

uint64_t switches() {
  return engine.switches;
}

int lane_index() {
  const Thread& t = self("a warp operation");
  return static_cast<int>((t.index.x + blockDim.x * (t.index.y + blockDim.y * t.index.z)) % 32);
}

MONO_NO_TSAN void block_barrier(Site site) {
  block_barrier_count(false, site);
}

MONO_NO_TSAN int block_barrier_count(bool predicate, Site site) {
  Thread& t = self("__syncthreads");
  t.barrier_predicate = predicate;
  ++t.barriers;
  happens_before_release(&engine.count);
  wait_as(t, State::block_barrier, site);
  happens_before_acquire(&engine.count);
  return engine.barrier_sum;
}

MONO_NO_TSAN void* shared_object(size_t bytes, size_t alignment, Site site) {
  self("shared memory");
  if (char* object = engine.shared.find(site)) return object;
  engine.static_bytes += bytes;
  if (engine.static_bytes > kStaticSharedLimit)
    fault(site, "%zu bytes of static shared memory, at most %zu are possible", engine.static_bytes,
          kStaticSharedLimit);
  if (engine.static_bytes + engine.launch.dynamic_shared > kSharedLimit)
    fault(site, "%zu bytes of shared memory with the dynamic ones, at most %zu are possible",
          engine.static_bytes + engine.launch.dynamic_shared, kSharedLimit);
  return engine.shared.take(bytes, std::max<size_t>(alignment, 16), site);
}

void* dynamic_shared_object() {
  self("shared memory");
  if (!engine.dynamic)
    give_up(fmt::format("{}: the launch gave no dynamic shared memory", place()));
  return engine.dynamic;
}

bool is_shared(const void* p, size_t bytes) {
  return engine.shared.contains(p, bytes);
}

MONO_NO_TSAN void warp_collective(const char* kind, Mask mask, const void* in, void* out,
                                  LaneOperation op, Site site) {
  Thread& me = self(kind);
  const int lane = lane_index();
  const int linear =
      static_cast<int>(me.index.x + blockDim.x * (me.index.y + blockDim.y * me.index.z));
  const int warp = linear - lane;
  if (!(mask >> lane & 1))
    fault(site, "%s: lane %d is not in its own mask 0x%08x", kind, lane, mask);
  me.kind = kind;
  me.mask = mask;
  me.in = in;
  me.out = out;
  happens_before_release(&engine.threads[warp]->kind);
  for (int l = 0; l < 32; ++l) {
    if (!(mask >> l & 1)) continue;
    if (warp + l >= engine.count)
      fault(site, "%s: mask 0x%08x names lane %d, but the warp has %d threads", kind, mask, l,
            engine.count - warp);
    if (l == lane) continue;
    const Thread& other = *engine.threads[warp + l];
    if (other.state == State::exited)
      fault(site, "%s: mask 0x%08x names lane %d, which has ended", kind, mask, l);
    if (other.state != State::warp_collective || other.mask != mask) {
      wait_as(me, State::warp_collective, site);
      happens_before_acquire(&engine.threads[warp]->mask);
      return;
    }
    if (std::strcmp(other.kind, kind) != 0)
      fault(site, "lane %d is in %s while lane %d of the same mask is in %s at %s", lane, kind, l,
            other.kind, text(other.site).c_str());
  }
  happens_before_acquire(&engine.threads[warp]->kind);
  LaneInputs ins{};
  LaneOutputs outs{};
  for (int l = 0; l < 32; ++l)
    if (mask >> l & 1) {
      ins[l] = engine.threads[warp + l]->in;
      outs[l] = engine.threads[warp + l]->out;
    }
  op(ins, outs, mask);
  happens_before_release(&engine.threads[warp]->mask);
  for (int l = 0; l < 32; ++l)
    if ((mask >> l & 1) && l != lane) engine.threads[warp + l]->state = State::ready;
}

void fault(Site site, const char* format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  give_up(fmt::format("{}: {} ({})", place(), message, text(site)));
}

MONO_NO_TSAN void copy_async(void* shared, const void* global, int bytes, int valid, Site site) {
  Thread& t = self("cp.async");
  const size_t size = static_cast<size_t>(bytes);
  if (reinterpret_cast<uintptr_t>(shared) % size || reinterpret_cast<uintptr_t>(global) % size)
    fault(site, "cp.async of %d bytes: shared %p or global %p is not aligned to that", bytes,
          shared, global);
  if (valid < 0 || valid > bytes) fault(site, "cp.async of %d bytes, %d valid", bytes, valid);
  if (!is_shared(shared, size)) fault(site, "cp.async: %p is not in shared memory", shared);
  const Copy copy{shared, global, bytes, valid};
  if (schedule().copies_at_issue) perform(copy);
  t.open.push_back(copy);
}

void copy_async_commit() {
  Thread& t = self("cp.async.commit_group");
  t.groups.push_back(std::move(t.open));
  t.open.clear();
}

MONO_NO_TSAN void copy_async_wait(int pending_groups) {
  Thread& t = self("cp.async.wait_group");
  while (static_cast<int>(t.groups.size()) > pending_groups) {
    if (!schedule().copies_at_issue)
      for (const Copy& copy : t.groups.front()) perform(copy);
    t.groups.pop_front();
  }
}

// --- The schedule --------------------------------------------------------------------------------

namespace {

Schedule schedule_from_environment() {
  const char* name = std::getenv("MONO_SIMT_SCHEDULE");
  for (const Schedule& s : test_schedules())
    if (!name || std::string_view(name) == s.name) return s;
  const std::string_view text = name;
  Schedule shuffled = test_schedules()[2];
  uint64_t seed = 0;
  if (text.starts_with("seed") &&
      std::from_chars(text.data() + 4, text.data() + text.size(), seed).ec == std::errc()) {
    shuffled.seed = seed;
    shuffled.name = name;
    return shuffled;
  }
  fail(ErrorKind::usage, "MONO_SIMT_SCHEDULE={}: forward, reverse or seed<number>", name);
}

Schedule& active_schedule() {
  static Schedule schedule = schedule_from_environment();
  return schedule;
}

}  // namespace

std::array<Schedule, 4> test_schedules() {
  using enum Schedule::Order;
  return {{{forward, 0, false, true, "forward"},
           {reverse, 0, true, false, "reverse"},
           {shuffled, 1, false, true, "seed1"},
           {shuffled, 2, true, true, "seed2"}}};
}
const Schedule& schedule() {
  return active_schedule();
}
void set_schedule(const Schedule& schedule) {
  active_schedule() = schedule;
}

}  // namespace mono::simt
