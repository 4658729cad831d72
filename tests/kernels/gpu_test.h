// For tests of GPU kernels: memory of the device, and the schedules of the emulator.
//
// The same tests run on the emulator (every kernel under several orders of threads, blocks and
// streams) and, in a CUDA build, on the GPU; where there is none they are skipped, and say so.
#pragma once

#include <gtest/gtest.h>

#include <cstdlib>
#include <span>
#include <string>
#include <vector>

#include "kernels/base/gpu.h"
#ifndef MONO_CUDA
#include "kernels/simt/emulator.h"
#endif

namespace mono::test {

// A stream for one test.
class GpuStream {
 public:
  GpuStream() : stream_(gpu::create_stream()) {}
  ~GpuStream() { gpu::destroy_stream(stream_); }
  GpuStream(const GpuStream&) = delete;
  GpuStream& operator=(const GpuStream&) = delete;
  operator Stream() const { return stream_; }
  void synchronize() const { gpu::synchronize(stream_); }

 private:
  Stream stream_;
};

// An array on the GPU, fenced by guard bytes on the emulator.
template <class T>
class GpuArray {
 public:
  // Not initialised: NaN on the emulator.
  GpuArray(Stream stream, int64_t n) : stream_(stream), bytes_(static_cast<size_t>(n) * sizeof(T)) {
    data_ = static_cast<T*>(gpu::allocate(bytes_ + gpu::kGuardBytes));
    gpu::mark_allocated(data_, bytes_, stream_);
  }
  GpuArray(Stream stream, std::span<const T> values)
      : GpuArray(stream, static_cast<int64_t>(values.size())) {
    gpu::copy(data_, values.data(), bytes_, stream_);
    gpu::synchronize(stream_);
  }
  GpuArray(Stream stream, const std::vector<T>& values)
      : GpuArray(stream, std::span<const T>(values)) {}
  ~GpuArray() {
    if (!data_) return;
    try {
      gpu::synchronize(stream_);
    } catch (const std::exception& e) {
      ADD_FAILURE() << e.what();
    }
    gpu::mark_free(data_, bytes_, stream_);
    gpu::release(data_);
  }
  GpuArray(GpuArray&& other) noexcept
      : stream_(other.stream_), bytes_(other.bytes_), data_(std::exchange(other.data_, nullptr)) {}

  T* data() const { return data_; }
  // What the array holds when everything enqueued before has run.
  std::vector<T> host() const {
    std::vector<T> values(bytes_ / sizeof(T));
    gpu::copy(values.data(), data_, bytes_, stream_);
    gpu::synchronize(stream_);
    return values;
  }

 private:
  Stream stream_;
  size_t bytes_;
  T* data_ = nullptr;
};

// At the head of a test that does not run under for_each_schedule.
#define MONO_NEEDS_GPU() \
  if (std::string why; !::mono::gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why

// Runs f under every schedule of the emulator (under ThreadSanitizer, which needs no particular
// order, two of them; only that of MONO_SIMT_SCHEDULE where it is set); on
// a GPU once; without one not at all.
template <class F>
void for_each_schedule(F&& f) {
#ifdef MONO_CUDA
  std::string why;
  if (!gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why;
  f();
#else
  if (std::getenv("MONO_SIMT_SCHEDULE")) return f();
  const simt::Schedule before = simt::schedule();
  for (const simt::Schedule& schedule : simt::test_schedules()) {
#if defined(__SANITIZE_THREAD__)
    if (!schedule.streams_late || schedule.name == std::string_view("seed1")) continue;
#endif
    SCOPED_TRACE(std::string("schedule ") + schedule.name);
    simt::set_schedule(schedule);
    f();
    if (::testing::Test::HasFatalFailure()) break;
  }
  simt::set_schedule(before);
#endif
}

// The same for whole networks: under a sanitizer, which makes them ten times slower, in one order.
template <class F>
void for_each_schedule_of_a_network(F&& f) {
#ifdef MONO_SANITIZED
  std::string why;
  if (!gpu::properties(&why)) GTEST_SKIP() << "no GPU: " << why;
  f();
#else
  for_each_schedule(std::forward<F>(f));
#endif
}

// For what is too long to run under all: under one, the next of them at every call.
template <class F>
void for_one_schedule(F&& f) {
  static int calls = 0;
  int count = 0, at = 0;
  for_each_schedule([&] { ++count; });
  if (count == 0) return;  // no GPU
  const int mine = calls++ % count;
  for_each_schedule([&] {
    if (at++ == mine) f();
  });
}

}  // namespace mono::test
