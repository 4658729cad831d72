// kernels/base/gpu.h on the CUDA runtime.
//
// Errors of CUDA come late: a kernel that fails is reported by whatever call looks next, and every
// call after it fails too. So the last launches are remembered and named with such an error.
// Functions that give something back (noexcept) ignore errors: the next other call reports them.
#include "kernels/base/gpu_cuda.h"

#include <algorithm>
#include <array>
#include <cstdlib>
#include <mutex>
#include <unordered_map>

#include "kernels/base/error.h"
#include "kernels/base/gpu.h"

namespace mono {
namespace {

// --- The last launches ---------------------------------------------------------------------------

struct LastLaunches {
  static constexpr size_t kKept = 6;
  std::mutex mutex;
  std::array<std::string_view, kKept> kernels;  // names live as long as the program
  size_t count = 0;

  void add(std::string_view kernel) {
    const std::lock_guard lock(mutex);
    kernels[count++ % kKept] = kernel;
  }
  // Newest first.
  std::string text() {
    const std::lock_guard lock(mutex);
    std::string names;
    for (size_t i = 0; i < std::min(count, kKept); ++i)
      names += fmt::format("{}{}", i ? ", " : "", kernels[(count - 1 - i) % kKept]);
    return names;
  }
};
LastLaunches last_launches;

bool waits_for_launches() {
  static const char* const value = std::getenv("MONO_SYNC_LAUNCH");
  return value && std::string_view(value) != "0";
}

// Errors of a kernel that ran before: no call of this process can succeed after one.
bool is_sticky(cudaError_t code) {
  switch (code) {
    case cudaErrorIllegalAddress:
    case cudaErrorLaunchTimeout:
    case cudaErrorAssert:
    case cudaErrorHardwareStackError:
    case cudaErrorIllegalInstruction:
    case cudaErrorMisalignedAddress:
    case cudaErrorInvalidAddressSpace:
    case cudaErrorInvalidPc:
    case cudaErrorLaunchFailure:
    case cudaErrorECCUncorrectable:
    case cudaErrorTensorMemoryLeak:
    case cudaErrorUnknown:
      return true;
    default:
      return false;
  }
}

std::string text_of(cudaError_t code) {
  return fmt::format("{} ({})", cudaGetErrorString(code), cudaGetErrorName(code));
}

}  // namespace

namespace detail {

void check_cuda(cudaError_t code, std::string_view call) {
  if (code == cudaSuccess) return;
  cudaGetLastError();  // an error that is not sticky must not reach the next check
  if (!is_sticky(code)) fail(ErrorKind::device, "CUDA: `{}` failed: {}", call, text_of(code));
  fail(ErrorKind::device,
       "CUDA: `{}` reports that an earlier kernel failed: {}; the last launches, newest first: {}. "
       "MONO_SYNC_LAUNCH=1 waits for each kernel and names the one that fails; compute-sanitizer "
       "names the line",
       call, text_of(code), last_launches.text());
}

void after_launch(std::string_view kernel, dim3 grid, dim3 block, size_t dynamic_shared,
                  Stream stream) {
  last_launches.add(kernel);
  cudaError_t code = cudaGetLastError();
  if (code == cudaSuccess && waits_for_launches()) {
    cudaStreamCaptureStatus capture;
    code = cudaStreamIsCapturing(cuda_stream(stream), &capture);
    if (code == cudaSuccess && capture == cudaStreamCaptureStatusNone)
      code = cudaStreamSynchronize(cuda_stream(stream));
  } else if (is_sticky(code)) {
    check_cuda(code, fmt::format("launch of {}", kernel));
  }
  if (code != cudaSuccess)
    fail(ErrorKind::device,
         "CUDA: kernel {} failed: {}; grid {}x{}x{}, block {}x{}x{}, {} bytes of dynamic shared "
         "memory",
         kernel, text_of(code), grid.x, grid.y, grid.z, block.x, block.y, block.z, dynamic_shared);
}

void allow_dynamic_shared(std::string_view kernel, const void* function, size_t bytes) {
  static std::mutex mutex;
  static std::unordered_map<const void*, size_t> allowed;
  const std::lock_guard lock(mutex);
  size_t& limit = allowed[function];
  if (bytes <= limit) return;
  const cudaError_t code = cudaFuncSetAttribute(
      function, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(bytes));
  check_cuda(
      code, fmt::format("cudaFuncSetAttribute({}, MaxDynamicSharedMemorySize, {})", kernel, bytes));
  limit = bytes;
}

}  // namespace detail

namespace gpu {
namespace {

int chosen_device = 0;

struct Found {
  Properties properties;
  std::string why;  // not usable; empty: it is
};

Found look() {
  Found found;
  int driver = 0, count = 0;
  if (cudaDriverGetVersion(&driver) == cudaSuccess && driver == 0) {
    found.why = "this machine has no NVIDIA driver";
    return found;
  }
  cudaError_t code = cudaGetDeviceCount(&count);
  cudaDeviceProp device{};
  if (code == cudaSuccess && count > chosen_device) {
    code = cudaSetDevice(chosen_device);
    if (code == cudaSuccess) code = cudaGetDeviceProperties(&device, chosen_device);
  }
  if (code != cudaSuccess || count <= chosen_device) {
    cudaGetLastError();
    found.why = code == cudaErrorInsufficientDriver
                    ? fmt::format("the NVIDIA driver supports CUDA {}.{}, this build needs {}.{}",
                                  driver / 1000, driver % 1000 / 10, CUDART_VERSION / 1000,
                                  CUDART_VERSION % 1000 / 10)
                : code != cudaSuccess ? text_of(code)
                                      : "the NVIDIA driver shows no GPU to this process";
    return found;
  }
  found.properties = {.name = device.name,
                      .bus_id = fmt::format("{:04x}:{:02x}:{:02x}", device.pciDomainID,
                                            device.pciBusID, device.pciDeviceID),
                      .memory_bytes = device.totalGlobalMem,
                      .multiprocessors = device.multiProcessorCount,
                      .major = device.major,
                      .minor = device.minor,
                      .shared_bytes = device.sharedMemPerBlockOptin};
  if (device.major < 8)
    found.why = fmt::format("{} has compute capability {}.{}; 8.0 is needed", device.name,
                            device.major, device.minor);
  return found;
}

}  // namespace

int devices() {
  int count = 0;
  if (cudaGetDeviceCount(&count) == cudaSuccess) return count;
  cudaGetLastError();
  return 0;
}
void use_device(int index) {
  chosen_device = index;
}

const Properties* properties(std::string* why) {
  static const Found found = look();
  if (found.why.empty()) return &found.properties;
  if (why) *why = found.why;
  return nullptr;
}

void* allocate(size_t bytes) {
  void* memory = nullptr;
  const cudaError_t code = cudaMalloc(&memory, bytes ? bytes : 1);
  if (code == cudaErrorMemoryAllocation) {
    cudaGetLastError();
    return nullptr;
  }
  detail::check_cuda(code, fmt::format("cudaMalloc({} bytes)", bytes));
  return memory;
}
void release(void* memory) noexcept {
  cudaFree(memory);
}

void* allocate_pinned(size_t bytes) {
  void* memory = nullptr;
  // A loader's thread, whose first call this may be, would open the first device.
  MONO_CUDA_CALL(cudaSetDevice(chosen_device));
  detail::check_cuda(cudaMallocHost(&memory, bytes ? bytes : 1),
                     fmt::format("cudaMallocHost({} bytes)", bytes));
  return memory;
}
void release_pinned(void* memory) noexcept {
  cudaFreeHost(memory);
}

void mark_allocated(void*, size_t, Stream) {}
void mark_free(void*, size_t, Stream) noexcept {}

Stream create_stream() {
  cudaStream_t stream = nullptr;
  MONO_CUDA_CALL(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking));
  return {kGpu, stream};
}
void destroy_stream(Stream stream) noexcept {
  cudaStreamDestroy(cuda_stream(stream));
}
void synchronize(Stream stream) {
  MONO_CUDA_CALL(cudaStreamSynchronize(cuda_stream(stream)));
}

void copy(void* to, const void* from, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  MONO_CUDA_CALL(cudaMemcpyAsync(to, from, bytes, cudaMemcpyDefault, cuda_stream(stream)));
}
void fill(void* memory, int byte, size_t bytes, Stream stream) {
  if (bytes == 0) return;
  MONO_CUDA_CALL(cudaMemsetAsync(memory, byte, bytes, cuda_stream(stream)));
}

Event create_event() {
  cudaEvent_t event = nullptr;
  MONO_CUDA_CALL(cudaEventCreateWithFlags(&event, cudaEventDisableTiming));
  return {event};
}
void destroy_event(Event event) noexcept {
  cudaEventDestroy(static_cast<cudaEvent_t>(event.handle));
}
void record(Event event, Stream stream) {
  MONO_CUDA_CALL(cudaEventRecord(static_cast<cudaEvent_t>(event.handle), cuda_stream(stream)));
}
void wait(Stream stream, Event event) {
  MONO_CUDA_CALL(cudaStreamWaitEvent(cuda_stream(stream), static_cast<cudaEvent_t>(event.handle)));
}
bool has_happened(Event event) {
  const cudaError_t code = cudaEventQuery(static_cast<cudaEvent_t>(event.handle));
  if (code == cudaErrorNotReady) return false;
  detail::check_cuda(code, "cudaEventQuery(event)");
  return true;
}
void synchronize(Event event) {
  MONO_CUDA_CALL(cudaEventSynchronize(static_cast<cudaEvent_t>(event.handle)));
}

// Relaxed: an allocator that asks for memory while a stream is being captured may do so.
void begin_capture(Stream stream) {
  MONO_CUDA_CALL(cudaStreamBeginCapture(cuda_stream(stream), cudaStreamCaptureModeRelaxed));
}
Graph end_capture(Stream stream) {
  cudaGraph_t graph = nullptr;
  MONO_CUDA_CALL(cudaStreamEndCapture(cuda_stream(stream), &graph));
  cudaGraphExec_t executable = nullptr;
  const cudaError_t code = cudaGraphInstantiate(&executable, graph, 0);
  cudaGraphDestroy(graph);
  detail::check_cuda(code, "cudaGraphInstantiate(&executable, graph, 0)");
  return {executable};
}
void replay(Graph graph, Stream stream) {
  MONO_CUDA_CALL(cudaGraphLaunch(static_cast<cudaGraphExec_t>(graph.handle), cuda_stream(stream)));
}
void destroy_graph(Graph graph) noexcept {
  cudaGraphExecDestroy(static_cast<cudaGraphExec_t>(graph.handle));
}

}  // namespace gpu
}  // namespace mono
