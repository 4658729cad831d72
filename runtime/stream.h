// Streams and events as objects, and the one stream that a device computes on.
//
// All tensors of a device are allocated, filled, computed with and freed on its compute stream, in
// the order of the program, so that memory may be reused at once and nothing waits. Another stream
// is for copies that run beside the computation; what it touches is ordered by events
// (Storage::used_on does that for memory).
#pragma once

#include <utility>

#include "kernels/base/device.h"
#include "kernels/base/gpu.h"

namespace mono {

// The stream on which `device` computes, made at its first use and kept for the life of the
// process. Of the CPU: the stream whose work is done when a call returns. Errors: a device that
// this build or machine does not have (device).
Stream compute_stream(Device device);

// Waits until everything enqueued on the stream so far is done; errors of kernels appear here.
// Nothing to do on the CPU.
void synchronize(Stream stream);

// A further stream of the GPU; waits for its work before it goes.
class OwnedStream {
 public:
  OwnedStream();
  ~OwnedStream();
  OwnedStream(const OwnedStream&) = delete;
  OwnedStream& operator=(const OwnedStream&) = delete;
  operator Stream() const { return stream_; }

 private:
  Stream stream_;
};

// A point in the work of a GPU stream.
class Event {
 public:
  Event() : event_(gpu::create_event()) {}
  ~Event() {
    if (event_.handle) gpu::destroy_event(event_);
  }
  Event(Event&& other) noexcept : event_(std::exchange(other.event_, {})) {}
  Event& operator=(Event&& other) noexcept {
    std::swap(event_, other.event_);
    return *this;
  }

  void record(Stream stream) { gpu::record(event_, stream); }  // happens when the stream gets here
  void block(Stream stream) const { gpu::wait(stream, event_); }  // its later work comes after
  void synchronize() const { gpu::synchronize(event_); }          // the host waits
  bool has_happened() const { return gpu::has_happened(event_); }

 private:
  gpu::Event event_;
};

// What `after` is given from now on starts when everything that `before` was given so far is done.
void order(Stream before, Stream after);

}  // namespace mono
