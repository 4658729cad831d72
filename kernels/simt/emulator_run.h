// Between the parts of the emulator: the scheduler (emulator.cpp), the emulated device
// (gpu_emulated.cpp) and the instructions (instructions.cpp).
#pragma once

#include <functional>
#include <string>

#include "kernels/simt/emulator.h"

namespace mono::simt {

// For ThreadSanitizer, of a stream: what orders its work and the threads of its launches.
struct alignas(8) SyncAddress {
  char byte = 0;
  operator void*() { return this; }
};
struct StreamSync {
  SyncAddress threads_begin, threads_end, done;
  int number = 0;  // keeps the threads of two streams apart
};

struct Launch {
  std::string_view kernel;
  dim3 grid, block;
  size_t dynamic_shared = 0;
  const std::function<void()>* body = nullptr;
  StreamSync* sync = nullptr;
};

// What is wrong with the shape of a launch, or nothing.
std::string check_launch(const Launch& launch);
// Runs a launch to its end; what was wrong with it, or nothing, is there for the host afterwards.
void run_launch(const Launch& launch);
bool launch_failed();
std::string take_launch_error();

// "batch_norm.cuh:17"-like: from kernels/ or tests/ on.
std::string text(Site site);

// Whether a kernel runs; then says which, in which thread, and whether p is below its stack. For a
// signal handler.
bool describe_running_thread(const void* p, char* text, size_t bytes);

// The copies of one thread (cp.async) in two rings, counted from the launch of its block on. No
// container: its memory would count as the threads' own for ThreadSanitizer.
struct AsyncCopies {
  static constexpr uint32_t kCopies = 256, kGroups = 64;  // in flight at most
  struct Copy {
    void* shared;
    const void* global;
    int bytes, valid;
    const void* where;  // program counter
  };
  Copy copies[kCopies];
  uint32_t group_end[kGroups];  // in copies
  uint32_t issued, performed, committed, waited;
  void clear() { issued = performed = committed = waited = 0; }
};
AsyncCopies& async_copies(const char* what);  // of the running thread

}  // namespace mono::simt
