// Time between two events of a GPU stream.
#include <chrono>

#include "kernels/base/gpu_cuda.h"
#include "tools/bench_kernels/bench.h"

namespace mono::bench {

double seconds_of(Stream stream, const std::function<void()>& run) {
  if (!stream.on_gpu()) {
    const auto start = std::chrono::steady_clock::now();
    run();
    return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  }
  struct Event {
    cudaEvent_t event = nullptr;
    Event() { MONO_CUDA_CALL(cudaEventCreate(&event)); }
    ~Event() { cudaEventDestroy(event); }
  };
  static const Event first, last;
  MONO_CUDA_CALL(cudaEventRecord(first.event, cuda_stream(stream)));
  run();
  MONO_CUDA_CALL(cudaEventRecord(last.event, cuda_stream(stream)));
  MONO_CUDA_CALL(cudaEventSynchronize(last.event));
  float milliseconds = 0;
  MONO_CUDA_CALL(cudaEventElapsedTime(&milliseconds, first.event, last.event));
  return static_cast<double>(milliseconds) / 1e3;
}

}  // namespace mono::bench
