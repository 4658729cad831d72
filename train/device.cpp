#include "train/device.h"

#include <fmt/format.h>

#include <cstdio>
#include <vector>

#include "kernels/base/cpu_features.h"
#include "kernels/base/error.h"
#include "kernels/base/gpu.h"
#include "kernels/base/suggest.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

std::string cpu_text() {
  return fmt::format("{}, {} threads, {}", cpu_name(), num_threads(), name_of(cpu_isa()));
}

// Of a GPU that is there.
std::string gpu_text() {
  const gpu::Properties& p = *gpu::properties();
  return fmt::format("{}, {:.0f} GB, compute capability {}.{}", p.name,
                     static_cast<double>(p.memory_bytes) / 1e9, p.major, p.minor);
}

}  // namespace

Device choose_device(const std::string& name, int threads) {
  if (threads < 0)
    fail(ErrorKind::usage, "--threads {}: a number of threads, or 0 for all cores", threads);
  if (threads > 0) set_num_threads(threads);
  if (name == "cpu") return Device::cpu;
  std::string why = "this build has no CUDA";
  const bool gpu = kGpu == Device::cuda && gpu::properties(&why);
  if (name == "auto") {
    if (gpu)
      fmt::print(stderr, "device: cuda ({})\n", gpu_text());
    else
      fmt::print(stderr, "device: cpu ({}); no GPU: {}\n", cpu_text(), why);
    return gpu ? Device::cuda : Device::cpu;
  }
  if (name == "cuda") {
    if (gpu) return Device::cuda;
    fail(ErrorKind::device, "--device cuda: no GPU: {}; use --device cpu{}", why,
         kGpu == Device::cuda ? "" : ", or build with `cmake --preset cuda`");
  }
  if (name == "emulated")
    fail(ErrorKind::device,
         "--device emulated: this build has no emulated device; use --device cpu");
  const std::vector<std::string> names = {"auto", "cpu", "cuda", "emulated"};
  fail(ErrorKind::usage, "--device {}: auto, cpu, cuda or emulated{}", name,
       did_you_mean(name, names));
}

std::string devices_text() {
  const std::string cpu = fmt::format("cpu: {}", cpu_text());
  if (kGpu != Device::cuda) return cpu;
  std::string why;
  return gpu::properties(&why) ? fmt::format("{}\ncuda: {}", cpu, gpu_text())
                               : fmt::format("{}\ncuda: no GPU: {}", cpu, why);
}

}  // namespace mono
