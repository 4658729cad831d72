// The GPU as the rest of the project sees it: memory, streams, events, graphs. Two files implement
// these functions: gpu_cuda.cpp on the CUDA runtime, simt/gpu_emulated.cpp on the emulator.
//
// Everything enqueued on one stream runs in order; across streams only events order. Errors throw
// Error(device) and name the expression that failed; an error of a kernel appears at a later call
// (MONO_SYNC_LAUNCH=1 waits after each launch and names the kernel).
#pragma once

#include <cstddef>
#include <string>

#include "kernels/base/device.h"

namespace mono::gpu {

// How many GPUs this process may use, and which of them it does (the first one without a choice):
// before any other call of this file.
int devices();
void use_device(int index);

struct Properties {
  std::string name;         // e.g. "NVIDIA H100 80GB HBM3"
  std::string bus_id;       // of the device, which tells two of one machine apart
  size_t memory_bytes = 0;  // of the device
  int multiprocessors = 0;
  int major = 0, minor = 0;  // compute capability
  size_t shared_bytes = 0;   // most shared memory a block may ask for
};
// Null where no GPU can be used; then *why (if given) says what is missing.
const Properties* properties(std::string* why = nullptr);

// Memory of the device, 256-byte aligned, not cleared; null where there is not enough.
void* allocate(size_t bytes);
void release(void* memory) noexcept;
// Page-locked memory of the host, for copies that overlap work.
void* allocate_pinned(size_t bytes);
void release_pinned(void* memory) noexcept;
// Tells the emulator which part of a block belongs to somebody, in stream order: fresh memory is
// filled with NaN and fenced by guard bytes, freed memory may not be touched. Does nothing on CUDA.
inline constexpr size_t kGuardBytes = kGpu == Device::emulated ? 64 : 0;
void mark_allocated(void* memory, size_t bytes, Stream stream);
void mark_free(void* memory, size_t bytes, Stream stream) noexcept;

Stream create_stream();
void destroy_stream(Stream stream) noexcept;
// Waits for everything enqueued so far.
void synchronize(Stream stream);

// Copies between host and device or within the device. Host memory must stay as it is until the
// copy has run; only pinned memory lets the call return before.
void copy(void* to, const void* from, size_t bytes, Stream stream);
void fill(void* memory, int byte, size_t bytes, Stream stream);

struct Event {
  void* handle = nullptr;
};
Event create_event();
void destroy_event(Event event) noexcept;
void record(Event event, Stream stream);  // the event has happened when the stream gets here
void wait(Stream stream, Event event);    // later work of the stream starts after the event
bool has_happened(Event event);
void synchronize(Event event);  // the host waits

// A recorded sequence of work. Between begin_capture and end_capture the stream's work is recorded
// instead of run; synchronising is an error there.
struct Graph {
  void* handle = nullptr;
};
void begin_capture(Stream stream);
Graph end_capture(Stream stream);
void replay(Graph graph, Stream stream);
void destroy_graph(Graph graph) noexcept;

}  // namespace mono::gpu
