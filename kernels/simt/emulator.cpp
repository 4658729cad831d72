// The scheduler: one launch at a time, its blocks one after another. Each thread of a block runs on
// a fiber until it waits at a barrier or for the lanes of its warp; then the next one in the
// schedule's order runs. Who comes last completes the barrier and goes on.
//
// A fiber whose thread ended takes up the next thread that has not begun, so that a kernel without
// barriers runs on one stack without any switch. For ThreadSanitizer every thread has a fiber of
// its own, and neighbouring blocks have different ones, which nothing orders.
#include "kernels/simt/emulator.h"

#include <cstdarg>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/simt/emulator_run.h"
#include "kernels/simt/fiber.h"
#include "kernels/simt/shared_memory.h"

namespace mono::simt {
namespace {

constexpr unsigned kThreadLimit = 1024;

enum class State : uint8_t { fresh, ready, block_barrier, warp_collective, exited };

struct Thread {
  Thread() {}  // without touching `copies`
  uint3 index{};
  int linear = 0;
  State state = State::exited;
  Site site{};  // where it waits
  int barriers = 0;
  Fiber* fiber = nullptr;
  AsyncCopies copies;

  int warp() const { return linear / 32; }
  int lane() const { return linear % 32; }
};

// Lanes of a warp on their way into one collective; mask 0: none.
struct Meeting {
  const char* kind = nullptr;
  Mask mask = 0, arrived = 0;
  int first = 0;  // lane
  LaneInputs ins;
  LaneOutputs outs;
};

struct Warp {
  Mask present = 0, exited = 0;
  std::array<Meeting, 32> meetings;  // in use: the first `used`
  int used = 0;
};

struct Engine {
  Launch launch;
  std::vector<Thread> threads = std::vector<Thread>(kThreadLimit);
  std::vector<Warp> warps = std::vector<Warp>(kThreadLimit / 32);
  int count = 0;           // threads of a block
  std::vector<int> order;  // of threads
  int position = 0;        // in order, of the pass that runs
  Thread* current = nullptr;
  int alive = 0;
  // The block's barrier.
  int at_barrier = 0, barrier_sum = 0, barrier_result = 0;
  const Thread* first_at_barrier = nullptr;

  SharedMemory shared;
  std::string error;
  uint64_t switches = 0;
  uint64_t blocks = 0;
  uint64_t random = 0;
  Fiber scheduler;
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;                                 // of fibers
  std::array<std::vector<std::unique_ptr<Fiber>>, 16> own;  // race::kChecked: of [set][thread]
  size_t set = 0;
};
Engine& engine = *new Engine;  // never destroyed, as the device

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

const Meeting* meeting_of(const Thread& t) {
  const Warp& warp = engine.warps[t.warp()];
  for (int i = 0; i < warp.used; ++i)
    if (warp.meetings[i].arrived >> t.lane() & 1) return &warp.meetings[i];
  return nullptr;
}

// Up to three threads that wait, for a report.
std::string waiting_threads() {
  std::string list;
  int waiting = 0;
  for (int i = 0; i < engine.count; ++i) {
    const Thread& t = engine.threads[i];
    if (t.state == State::exited || ++waiting > 3) continue;
    list += fmt::format("\n  thread {} waits in ", i);
    if (const Meeting* meeting = meeting_of(t))
      list += fmt::format("{} with mask {:#010x} for lanes {:#010x}", meeting->kind, meeting->mask,
                          meeting->mask & ~meeting->arrived);
    else
      list += fmt::format("__syncthreads (its barrier #{})", t.barriers);
    list += fmt::format(" at {}", text(t.site));
  }
  return fmt::format("{} of {} threads wait:{}", waiting, engine.count, list);
}

// --- Switching -----------------------------------------------------------------------------------

void make_current(Thread* thread) {
  engine.current = thread;
  if (thread) threadIdx = thread->index;
}

// The next thread of this pass that can run.
Thread* next_in_pass() {
  while (engine.position < engine.count) {
    Thread& t = engine.threads[engine.order[static_cast<size_t>(engine.position++)]];
    if (t.state <= State::ready) return &t;
  }
  return nullptr;
}

void run_fibers(void* self);

// The fiber of a thread; gives one to a thread that begins.
Fiber& fiber_of(Thread& thread) {
  if (!thread.fiber && race::kChecked) {
    thread.fiber = engine.own[engine.set][static_cast<size_t>(thread.linear)].get();
  } else if (!thread.fiber) {
    if (engine.idle.empty()) {
      engine.fibers.push_back(std::make_unique<Fiber>(run_fibers, nullptr));
      engine.idle.push_back(engine.fibers.back().get());
    }
    thread.fiber = engine.idle.back();
    engine.idle.pop_back();
  }
  return *thread.fiber;
}

// After an error: threads that still wait are abandoned with their stacks.
void drop_fibers() {
  if (race::kChecked)
    for (int i = 0; i < engine.count; ++i)
      if (engine.threads[i].fiber)
        engine.threads[i].fiber->release_at(engine.launch.sync->threads_end);
  engine.fibers.clear();
  engine.idle.clear();
  for (auto& own : engine.own) own.clear();
}

// Goes on with the next thread of the pass, or with the scheduler at its end.
void leave(Fiber& fiber) {
  Thread* const next = engine.error.empty() ? next_in_pass() : nullptr;
  Fiber& to = next ? fiber_of(*next) : engine.scheduler;
  make_current(next);
  ++engine.switches;
  fiber.jump_to(to);
}

void wait_as(Thread& thread, State state) {
  thread.state = state;
  leave(*thread.fiber);
}

// From a running thread: the launch ends here.
[[noreturn]] void give_up(std::string message) {
  engine.error = std::move(message);
  race::release(engine.launch.sync->threads_end);
  leave(*engine.current->fiber);
  std::abort();
}

// --- Threads -------------------------------------------------------------------------------------

void release_barrier() {
  engine.barrier_result = engine.barrier_sum;
  engine.at_barrier = 0;
  for (int i = 0; i < engine.count; ++i)
    if (engine.threads[i].state == State::block_barrier) engine.threads[i].state = State::ready;
}

void end_thread(Thread& t) {
  t.state = State::exited;
  --engine.alive;
  Warp& warp = engine.warps[t.warp()];
  warp.exited |= 1u << t.lane();
  for (const Meeting& meeting : warp.meetings)
    if (meeting.arrived && (meeting.mask >> t.lane() & 1))
      engine.error = fmt::format(
          "{}: the thread ends while lane {} waits for it in {} with mask {:#010x} at {}", place(),
          meeting.first, meeting.kind, meeting.mask,
          text(engine.threads[t.linear - t.lane() + meeting.first].site));
  if (t.copies.issued != t.copies.performed)
    engine.error =
        fmt::format("{}: the thread ends with cp.async copies that nobody waited for", place());
  if (engine.at_barrier > 0 && engine.at_barrier == engine.alive) release_barrier();
}

void run_thread(Thread& t) {
  t.state = State::ready;
  race::acquire(engine.launch.sync->threads_begin);
  try {
    (*engine.launch.body)();
  } catch (const std::exception& e) {
    engine.error = fmt::format("{}: {}", place(), e.what());
  }
  if (engine.error.empty()) end_thread(t);
  race::release(engine.launch.sync->threads_end);
}

// What a fiber does: one thread after another.
void run_fibers(void*) {
  for (;;) {
    Thread& t = *engine.current;
    Fiber& self = *t.fiber;
    run_thread(t);
    t.fiber = nullptr;
    Thread* const next = engine.error.empty() ? next_in_pass() : nullptr;
    if (next && !next->fiber && !race::kChecked) {
      next->fiber = &self;
      make_current(next);
      continue;
    }
    Fiber& to = next ? fiber_of(*next) : engine.scheduler;
    if (!race::kChecked) engine.idle.push_back(&self);
    make_current(next);
    ++engine.switches;
    self.jump_to(to);
  }
}

// --- Blocks --------------------------------------------------------------------------------------

uint64_t next_random(uint64_t& state) {  // splitmix64
  uint64_t z = (state += 0x9e3779b97f4a7c15ull);
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
  return z ^ (z >> 31);
}

// 0 .. n-1 in the schedule's order.
void put_in_order(std::vector<int>& order, int64_t n) {
  order.resize(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  if (schedule().order == Schedule::Order::reverse) std::reverse(order.begin(), order.end());
  if (schedule().order == Schedule::Order::shuffled)
    for (int64_t i = n - 1; i > 0; --i)
      std::swap(order[static_cast<size_t>(i)],
                order[next_random(engine.random) % static_cast<uint64_t>(i + 1)]);
}

void begin_block() {
  engine.shared.begin_block(engine.launch.dynamic_shared);
  engine.alive = engine.count;
  engine.at_barrier = 0;
  for (int i = 0; i < engine.count; ++i) {
    Thread& t = engine.threads[i];
    t.state = State::fresh;
    t.barriers = 0;
    t.fiber = nullptr;
    t.copies.clear();
  }
  for (int w = 0; w * 32 < engine.count; ++w) {
    const int lanes = std::min(32, engine.count - w * 32);
    engine.warps[w].present = lanes == 32 ? ~0u : (1u << lanes) - 1;
    engine.warps[w].exited = 0;
    for (Meeting& meeting : engine.warps[w].meetings) meeting.mask = meeting.arrived = 0;
    engine.warps[w].used = 0;
  }
  // The sets of fibers that blocks use in turn: more for small blocks, at least two; half of them
  // for every other stream.
  const uint64_t sets = std::clamp(512 / engine.count, 2, 8);
  engine.set = engine.blocks++ % sets + (engine.launch.sync->number % 2 ? 8 : 0);
  if (race::kChecked) {  // made here, not by the thread before: that would order the two
    auto& own = engine.own[engine.set];
    own.resize(kThreadLimit);
    for (int i = 0; i < engine.count; ++i)
      if (!own[i]) own[i] = std::make_unique<Fiber>(run_fibers, nullptr);
  }
  race::release(engine.launch.sync->threads_begin);
}

void run_block() {
  begin_block();
  for (;;) {
    engine.position = 0;
    Thread* const first = next_in_pass();
    if (!first) break;
    Fiber& fiber = fiber_of(*first);
    make_current(first);
    ++engine.switches;
    engine.scheduler.jump_to(fiber);
    if (!engine.error.empty()) return;
  }
  if (engine.alive > 0)
    engine.error = fmt::format("{}: deadlock, {}", place(), waiting_threads());
  else if (const std::string broken = engine.shared.broken_fence(); !broken.empty())
    engine.error = fmt::format("{}: {}", place(), broken);
}

Thread& self(const char* what) {
  MONO_CHECK(engine.current, "{} outside of a kernel", what);
  return *engine.current;
}

bool same(Site a, Site b) {
  return a.line == b.line && (a.file == b.file || std::strcmp(a.file, b.file) == 0);
}

}  // namespace

// --- For the device ------------------------------------------------------------------------------

std::string check_launch(const Launch& launch) {
  const auto& [kernel, grid, block, dynamic_shared, body, sync] = launch;
  const uint64_t threads = uint64_t{block.x} * block.y * block.z;
  if (threads < 1 || threads > kThreadLimit || block.z > 64)
    return fmt::format("kernel {}: a block of {} has {} threads; 1 to {} are possible, z up to 64",
                       kernel, text(block), threads, kThreadLimit);
  if (grid.x > 0x7fffffff || grid.y > 65535 || grid.z > 65535)
    return fmt::format("kernel {}: grid {}: x is at most 2^31 - 1, y and z at most 65535", kernel,
                       text(grid));
  if (dynamic_shared > SharedMemory::kLimit)
    return fmt::format("kernel {}: {} bytes of dynamic shared memory, at most {} are possible",
                       kernel, dynamic_shared, SharedMemory::kLimit);
  return {};
}

void run_launch(const Launch& launch) {
  engine.launch = launch;
  const dim3 grid = gridDim = launch.grid, block = blockDim = launch.block;
  engine.count = static_cast<int>(block.x * block.y * block.z);
  for (unsigned i = 0; i < block.x * block.y * block.z; ++i) {
    engine.threads[i].index = {i % block.x, i / block.x % block.y, i / (block.x * block.y)};
    engine.threads[i].linear = static_cast<int>(i);
  }
  engine.error.clear();
  engine.random = schedule().seed;
  std::vector<int> blocks;
  put_in_order(blocks, int64_t{grid.x} * grid.y * grid.z);
  put_in_order(engine.order, engine.count);
  for (const int b : blocks) {
    const unsigned i = static_cast<unsigned>(b);
    blockIdx = {i % grid.x, i / grid.x % grid.y, i / (grid.x * grid.y)};
    if (schedule().order == Schedule::Order::shuffled) put_in_order(engine.order, engine.count);
    run_block();
    if (!engine.error.empty()) break;
  }
  make_current(nullptr);
  if (!engine.error.empty()) drop_fibers();
  race::acquire(launch.sync->threads_end);
}

bool launch_failed() {
  return !engine.error.empty();
}

std::string take_launch_error() {
  return std::exchange(engine.error, {});
}

std::string text(Site site) {
  const char* file = site.file ? site.file : "?";
  if (const char* kernels = std::strstr(file, "kernels/")) file = kernels;
  if (const char* tests = std::strstr(site.file ? site.file : "", "tests/")) file = tests;
  return fmt::format("{}:{}", file, site.line);
}

bool describe_running_thread(const void* p, char* text, size_t bytes) {
  if (!engine.current) return false;
  const uint3& t = engine.current->index;
  std::snprintf(text, bytes, "%s in kernel %.*s, block (%u, %u, %u), thread (%u, %u, %u)",
                engine.current->fiber->in_guard(p)
                    ? "more local memory than the emulator's stack of a thread holds"
                    : "segmentation fault",
                static_cast<int>(engine.launch.kernel.size()), engine.launch.kernel.data(),
                blockIdx.x, blockIdx.y, blockIdx.z, t.x, t.y, t.z);
  return true;
}

uint64_t switches() {
  return engine.switches;
}

// --- For kernels ---------------------------------------------------------------------------------

void fault(Site site, const char* format, ...) {
  char message[512];
  va_list arguments;
  va_start(arguments, format);
  std::vsnprintf(message, sizeof message, format, arguments);
  va_end(arguments);
  give_up(fmt::format("{}: {} ({})", place(), message, text(site)));
}

int lane_index() {
  return self("a warp operation").lane();
}

void block_barrier(Site site) {
  block_barrier_count(false, site);
}

int block_barrier_count(bool predicate, Site site) {
  Thread& t = self("__syncthreads");
  t.site = site;
  ++t.barriers;
  if (engine.at_barrier == 0) {
    engine.first_at_barrier = &t;
    engine.barrier_sum = 0;
  }
  const Thread& first = *engine.first_at_barrier;
  if (!same(site, first.site) || t.barriers != first.barriers)
    give_up(fmt::format(
        "{}: divergent __syncthreads: thread {} is at {} (its barrier #{}) while "
        "thread {} is at {} (#{})",
        place(), t.linear, text(site), t.barriers, first.linear, text(first.site), first.barriers));
  engine.barrier_sum += predicate;
  ++engine.at_barrier;
  // Two addresses in turn: a thread that is already at the next barrier must not order those that
  // have yet to leave this one.
  void* const sync = engine.shared.barrier_sync(t.barriers);
  race::release(sync);
  if (engine.at_barrier == engine.alive)
    release_barrier();
  else
    wait_as(t, State::block_barrier);
  race::acquire(sync);
  return engine.barrier_result;
}

void* shared_object(const void* key, size_t bytes, size_t alignment, Site site) {
  self("shared memory");
  if (char* object = engine.shared.find(key)) return object;
  const size_t of_static = engine.shared.static_bytes() + bytes;
  if (of_static > SharedMemory::kStaticLimit)
    fault(site, "%zu bytes of static shared memory, at most %zu are possible", of_static,
          SharedMemory::kStaticLimit);
  if (of_static + engine.launch.dynamic_shared > SharedMemory::kLimit)
    fault(site, "%zu bytes of shared memory with the dynamic ones, at most %zu are possible",
          of_static + engine.launch.dynamic_shared, SharedMemory::kLimit);
  return engine.shared.take(key, bytes, std::max<size_t>(alignment, 16), site);
}

void* dynamic_shared_object() {
  self("shared memory");
  if (!engine.shared.dynamic())
    give_up(fmt::format("{}: the launch gave no dynamic shared memory", place()));
  return engine.shared.dynamic();
}

bool is_shared(const void* p, size_t bytes) {
  return engine.shared.contains(p, bytes);
}

AsyncCopies& async_copies(const char* what) {
  return self(what).copies;
}

void warp_collective(const char* kind, Mask mask, const void* in, void* out, LaneOperation op,
                     Site site, Meet meet) {
  Thread& t = self(kind);
  const int lane = t.lane();
  Warp& warp = engine.warps[t.warp()];
  t.site = site;
  if (!(mask >> lane & 1))
    fault(site, "%s: lane %d is not in its own mask 0x%08x", kind, lane, mask);
  if (mask & ~warp.present)
    fault(site, "%s: mask 0x%08x names lane %d, but the warp has %d threads", kind, mask,
          std::countr_zero(mask & ~warp.present), std::popcount(warp.present));
  if (mask & warp.exited)
    fault(site, "%s: mask 0x%08x names lane %d, which has ended", kind, mask,
          std::countr_zero(mask & warp.exited));

  Meeting* meeting = nullptr;
  for (int i = 0; i < warp.used && !meeting; ++i)
    if (warp.meetings[i].mask == mask) meeting = &warp.meetings[i];
  if (!meeting) {  // the first free one
    for (meeting = warp.meetings.data(); meeting->arrived;) ++meeting;
    warp.used = std::max(warp.used, static_cast<int>(meeting - warp.meetings.data()) + 1);
    meeting->mask = mask;
  }
  if (!meeting->arrived) {
    meeting->kind = kind;
    meeting->first = lane;
  } else {
    const Site other = engine.threads[t.linear - lane + meeting->first].site;
    const bool same_kind = meeting->kind == kind || std::strcmp(meeting->kind, kind) == 0;
    if (!same_kind || (meet == Meet::registers_aligned && !same(site, other)))
      fault(site, "lane %d is in %s while lane %d of the same mask is in %s at %s", lane, kind,
            meeting->first, meeting->kind, text(other).c_str());
  }
  meeting->arrived |= 1u << lane;
  meeting->ins[static_cast<size_t>(lane)] = in;
  meeting->outs[static_cast<size_t>(lane)] = out;
  void* const arrive = engine.shared.warp_sync(t.warp(), mask, false);
  void* const leave = engine.shared.warp_sync(t.warp(), mask, true);
  if (meet == Meet::memory) race::release(arrive);
  if (meeting->arrived != mask) {
    wait_as(t, State::warp_collective);
    if (meet == Meet::memory) race::acquire(leave);
    return;
  }
  op(meeting->ins, meeting->outs, mask);
  meeting->arrived = 0;  // the place stays this mask's: it will often come again
  for (Mask others = mask & ~(1u << lane); others; others &= others - 1)
    engine.threads[t.linear - lane + std::countr_zero(others)].state = State::ready;
  if (meet == Meet::memory) {
    race::acquire(arrive);
    race::release(leave);
  }
}

}  // namespace mono::simt
