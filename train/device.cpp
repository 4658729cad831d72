#include "train/device.h"

#include <fmt/format.h>

#include <cstdio>
#include <vector>

#include "kernels/base/cpu_features.h"
#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "kernels/base/suggest.h"
#include "kernels/base/thread_pool.h"
#include "runtime/allocator.h"

namespace mono {
namespace {

std::string cpu_text() {
  return fmt::format("{}, {} threads, {}", cpu_name(), num_threads(), name_of(cpu_isa()));
}

// Null, and why, where this build or machine has no real GPU.
const gpu::Properties* real_gpu(std::string& why) {
  why = "this build has no CUDA";
  return kGpu == Device::cuda ? gpu::properties(&why) : nullptr;
}

std::string gpu_text() {
  if (kGpu == Device::emulated)
    return "runs the GPU's kernels on the CPU, thread by thread: for tests, and slow";
  std::string why;
  const gpu::Properties* gpu = real_gpu(why);
  if (!gpu) return "no GPU found: " + why;
  return fmt::format("{}, {:.0f} GB, compute capability {}.{}, {} multiprocessors", gpu->name,
                     static_cast<double>(gpu->memory_bytes) * 1e-9, gpu->major, gpu->minor,
                     gpu->multiprocessors);
}

}  // namespace

Device choose_device(const std::string& name, int threads, bool quiet) {
  if (threads < 0)
    fail(ErrorKind::usage, "--threads {}: a number of threads, or 0 for all cores", threads);
  if (threads > 0) set_num_threads(threads);
  if (name == "cpu") return Device::cpu;
  std::string why;
  const bool gpu = real_gpu(why) != nullptr;
  if (name == "auto") {
    if (quiet) return gpu ? Device::cuda : Device::cpu;
    if (gpu)
      fmt::print(stderr, "device: cuda ({})\n", gpu_text());
    else
      fmt::print(stderr, "device: cpu ({}); no GPU found: {}\n", cpu_text(), why);
    return gpu ? Device::cuda : Device::cpu;
  }
  if (name == "cuda") {
    if (gpu) return Device::cuda;
    fail(ErrorKind::device, "--device cuda: no GPU found: {}; use --device cpu{}", why,
         kGpu == Device::cuda ? "" : ", or build with `cmake --preset cuda`");
  }
  if (name == "emulated") {
    if (kGpu == Device::emulated) return Device::emulated;
    fail(ErrorKind::device,
         "--device emulated: this build has CUDA instead; use --device cpu, or build with `cmake "
         "--preset cpu`");
  }
  const std::vector<std::string> names = {"auto", "cpu", "cuda", "emulated"};
  fail(ErrorKind::usage, "--device {}: auto, cpu, cuda or emulated{}", name,
       did_you_mean(name, names));
}

std::string devices_text() {
  return fmt::format("cpu: {}\n{}: {}", cpu_text(), name_of(kGpu), gpu_text());
}

std::string name_of_hardware(Device device) {
  return device == Device::cpu ? std::string(cpu_name()) : gpu::properties()->name;
}

int64_t peak_tensor_bytes(Device device) {
  return CachingAllocator::of(device).counters().peak_active_bytes;
}

}  // namespace mono
