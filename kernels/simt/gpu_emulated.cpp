// kernels/base/gpu.h on the emulator. A stream is a queue of work that runs when somebody waits for
// it, or at once (simt::Schedule): both are legal on a GPU, and a result that depends on which it
// was lacks an event.
//
// For ThreadSanitizer each stream is a context of its own. What the host did before it enqueued a
// piece of work is ordered before that work, the work of a stream in its order, and what an event
// or the host waits for before what comes behind; nothing else is.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "kernels/simt/device_memory.h"
#include "kernels/simt/emulator_run.h"
#include "kernels/simt/sanitizers.h"

namespace mono::gpu {
namespace {

namespace memory = simt::device_memory;
namespace race = simt::race;

struct Work {
  std::function<void()> run;
  std::string_view name;  // of the kernel, or "copy" and the like
};

struct Queue {
  uint64_t id;
  std::deque<Work> pending;
  uint64_t enqueued = 0, done = 0;
  bool running = false;
  std::unique_ptr<std::vector<Work>> capture;
  // For ThreadSanitizer.
  void* context = race::create_context();
  simt::StreamSync sync{{}, {}, {}, static_cast<int>(id)};
  std::deque<simt::SyncAddress> recorded;

  explicit Queue(uint64_t number) : id(number) {}
  ~Queue() { race::destroy_context(context); }
};

// An event as recorded last: so many pieces of work of a queue.
struct EventState {
  uint64_t queue = 0;  // its id; 0 before the first record
  uint64_t position = 0;
  bool captured = false;
  void* sync = nullptr;
};

// One lock for all of the emulated device: the host may use it from several threads, one at a time.
// Never destroyed: objects with static storage use the device to the end.
std::recursive_mutex mutex;
auto& queues = *new std::map<uint64_t, std::unique_ptr<Queue>>;
std::string remembered;  // an error where nothing could be thrown

Queue& queue_of(Stream stream) {
  MONO_CHECK(stream.device == kGpu && stream.handle, "a GPU stream is needed, got one of the {}",
             name_of(stream.device));
  return *static_cast<Queue*>(stream.handle);
}

void* host_context = nullptr;  // of the thread that holds the lock

// What follows happens on the stream, for ThreadSanitizer. An error that leaves is the host's.
class OnStream {
 public:
  explicit OnStream(Queue& queue)
      : queue_(queue), before_(race::current_context()), errors_(std::uncaught_exceptions()) {
    if (on_streams_++ == 0) host_context = before_;
    race::enter(queue.context);
  }
  ~OnStream() {
    --on_streams_;
    const bool error = std::uncaught_exceptions() > errors_ || simt::launch_failed();
    if (error) race::release(queue_.sync.done);
    race::enter(before_);
    if (error) race::acquire(queue_.sync.done);
  }
  OnStream(const OnStream&) = delete;
  OnStream& operator=(const OnStream&) = delete;

 private:
  static inline int on_streams_ = 0;
  Queue& queue_;
  void* before_;
  int errors_;
};

// Back on the host within a stream's work, which waits for another stream: what runs that one is
// no work of this one.
class OnHost {
 public:
  OnHost() : before_(race::current_context()) { race::enter(host_context); }
  ~OnHost() { race::enter(before_); }
  OnHost(const OnHost&) = delete;
  OnHost& operator=(const OnHost&) = delete;

 private:
  void* before_;
};

void run_until(Queue& queue, uint64_t position) {
  if (queue.done >= position) return;
  if (queue.running) fail(ErrorKind::device, "emulated GPU: two streams wait for each other");
  queue.running = true;
  struct Leave {
    Queue& queue;
    ~Leave() { queue.running = false; }
  } leave{queue};
  const memory::Opened opened;
  while (queue.done < position) {
    std::string_view name;
    {
      const OnStream on(queue);
      race::acquire(&queue.pending.front());
      const Work work = std::move(queue.pending.front());
      queue.pending.pop_front();
      ++queue.done;
      name = work.name;
      work.run();
    }
    // Out here, where the error's text is the host's for ThreadSanitizer too.
    if (const std::string error = simt::take_launch_error(); !error.empty())
      fail(ErrorKind::device, "emulated GPU: {}", error);
    if (const std::string broken = memory::broken_guard(); !broken.empty())
      fail(ErrorKind::device, "emulated GPU: {} {}", name, broken);
  }
}

void throw_remembered() {
  if (!remembered.empty()) fail(ErrorKind::device, "{}", std::exchange(remembered, {}));
}

void enqueue(Queue& queue, Work work) {
  throw_remembered();
  if (queue.capture) {
    queue.capture->push_back(std::move(work));
    return;
  }
  queue.pending.push_back(std::move(work));
  race::release(&queue.pending.back());
  ++queue.enqueued;
  static const bool synchronous = std::getenv("MONO_SYNC_LAUNCH") != nullptr;
  if (synchronous || !simt::schedule().streams_late) run_until(queue, queue.enqueued);
}

void enqueue(Stream stream, std::string_view name, std::function<void()> run) {
  const std::lock_guard lock(mutex);
  enqueue(queue_of(stream), {std::move(run), name});
}

// For functions that may not throw: the next one that may does.
template <class F>
void remember_errors(F&& f) noexcept {
  try {
    f();
  } catch (const std::exception& e) {
    remembered = e.what();
  }
}

// Everything that the queue was given runs, and the host goes on after it.
void finish(Queue& queue) {
  run_until(queue, queue.enqueued);
  {
    const OnStream on(queue);
    race::release(queue.sync.done);
  }
  race::acquire(queue.sync.done);
}

}  // namespace

int devices() {
  return 1;
}
void use_device(int) {}

const Properties* properties(std::string*) {
  static const Properties emulated{"SIMT emulator", "emulated", memory::kBytes, 4, 9, 0,
                                   227 * 1024};
  return &emulated;
}

// --- Memory --------------------------------------------------------------------------------------

void* allocate(size_t bytes) {
  const std::lock_guard lock(mutex);
  memory::initialise();
  return memory::allocate(bytes);
}
void release(void* block) noexcept {
  const std::lock_guard lock(mutex);
  for (auto& entry : queues)  // as cudaFree, which waits for the device
    remember_errors([&] { finish(*entry.second); });
  memory::release(block);
}

void* allocate_pinned(size_t bytes) {
  return std::aligned_alloc(256, (bytes + 255) / 256 * 256);
}
void release_pinned(void* block) noexcept {
  std::free(block);
}

void mark_allocated(void* block, size_t bytes, Stream stream) {
  enqueue(stream, "allocation", [=] { memory::mark_allocated(block, bytes); });
}
void mark_free(void* block, size_t bytes, Stream stream) noexcept {
  remember_errors([&] { enqueue(stream, "freeing", [=] { memory::mark_free(block, bytes); }); });
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  if (!memory::contains(to) && !memory::contains(from))
    fail(ErrorKind::device, "emulated GPU: a copy from host to host");
  enqueue(stream, "copy", [=] { std::memcpy(to, from, bytes); });
}
void fill(void* block, int byte, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  enqueue(stream, "fill", [=] { std::memset(block, byte, bytes); });
}

// --- Streams and events --------------------------------------------------------------------------

Stream create_stream() {
  const std::lock_guard lock(mutex);
  memory::initialise();
  static uint64_t last = 0;
  auto queue = std::make_unique<Queue>(++last);
  const Stream stream{kGpu, queue.get()};
  queues[last] = std::move(queue);
  return stream;
}
void destroy_stream(Stream stream) noexcept {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  while (queue.done < queue.enqueued)  // what was enqueued runs, as on a GPU
    remember_errors([&] { run_until(queue, queue.enqueued); });
  queues.erase(queue.id);
}

void synchronize(Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (queue.capture)
    fail(ErrorKind::device, "emulated GPU: the host waits for a stream that is being captured");
  finish(queue);
  throw_remembered();
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
  void* sync = nullptr;
  if (race::kChecked) sync = queue.recorded.emplace_back();
  if (!queue.capture)
    enqueue(queue, {[sync] {
                      if (sync) race::release(sync);
                    },
                    "event"});
  *static_cast<EventState*>(event.handle) = {queue.id, queue.enqueued, bool(queue.capture), sync};
}
void wait(Stream stream, Event event) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  const EventState state = *static_cast<EventState*>(event.handle);
  if (state.queue == 0 || state.queue == queue.id) return;
  if (state.captured || queue.capture)
    fail(ErrorKind::device,
         "emulated GPU: a stream waits for another one's event in a capture; that is not emulated");
  enqueue(queue, {[state] {
                    const auto other = queues.find(state.queue);
                    if (other == queues.end()) return;  // its work has run
                    {
                      const OnHost host;
                      run_until(*other->second, state.position);
                    }
                    if (state.sync) race::acquire(state.sync);
                  },
                  "wait"});
}
void synchronize(Event event) {
  const std::lock_guard lock(mutex);
  const EventState state = *static_cast<EventState*>(event.handle);
  if (state.captured)
    fail(ErrorKind::device, "emulated GPU: the host waits for an event of a capture");
  const auto queue = queues.find(state.queue);
  if (queue == queues.end()) return;
  run_until(*queue->second, state.position);
  if (state.sync) race::acquire(state.sync);
  throw_remembered();
}

// What it waits for runs when somebody asks.
bool has_happened(Event event) {
  synchronize(event);
  return true;
}

// --- Graphs --------------------------------------------------------------------------------------

void begin_capture(Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (queue.capture) fail(ErrorKind::device, "emulated GPU: the stream is being captured already");
  queue.capture = std::make_unique<std::vector<Work>>();
}
Graph end_capture(Stream stream) {
  const std::lock_guard lock(mutex);
  Queue& queue = queue_of(stream);
  if (!queue.capture) fail(ErrorKind::device, "emulated GPU: the stream is not being captured");
  return {queue.capture.release()};
}
void replay(Graph graph, Stream stream) {
  const std::lock_guard lock(mutex);
  for (const Work& work : *static_cast<std::vector<Work>*>(graph.handle))
    enqueue(queue_of(stream), work);
}
void destroy_graph(Graph graph) noexcept {
  delete static_cast<std::vector<Work>*>(graph.handle);
}

}  // namespace mono::gpu

namespace mono::simt {

void check_pointer(std::string_view kernel, int argument, const void* p) {
  if (p && !device_memory::contains(p))
    fail(ErrorKind::device, "emulated GPU: kernel {}: its argument {} points to host memory",
         kernel, argument);
}

void enqueue_launch(Stream stream, std::string_view kernel, dim3 grid, dim3 block,
                    size_t dynamic_shared, std::function<void()> body) {
  StreamSync* const sync = &gpu::queue_of(stream).sync;
  if (const std::string wrong = check_launch({kernel, grid, block, dynamic_shared, nullptr, sync});
      !wrong.empty())
    fail(ErrorKind::device, "emulated GPU: {}", wrong);
  gpu::enqueue(stream, kernel, [=, body = std::move(body)] {
    run_launch({kernel, grid, block, dynamic_shared, &body, sync});
  });
}

}  // namespace mono::simt
