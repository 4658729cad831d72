#include "train/device.h"

#include <fmt/format.h>

#include <cstdio>
#include <vector>

#include "kernels/base/cpu_features.h"
#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

std::string cpu_text() {
  return fmt::format("{}, {} threads, {}", cpu_name(), num_threads(), name_of(cpu_isa()));
}

}  // namespace

Device choose_device(const std::string& name, int threads) {
  if (threads < 0)
    fail(ErrorKind::usage, "--threads {}: a number of threads, or 0 for all cores", threads);
  if (threads > 0) set_num_threads(threads);
  if (name == "cpu") return Device::cpu;
  if (name == "auto") {
    fmt::print(stderr, "device: cpu ({}); this build has no CUDA\n", cpu_text());
    return Device::cpu;
  }
  if (name == "cuda")
    fail(ErrorKind::device,
         "--device cuda: this build has no CUDA; configure with `cmake --preset cuda`, or use "
         "--device cpu");
  if (name == "emulated")
    fail(ErrorKind::device,
         "--device emulated: this build has no emulated device; use --device cpu");
  const std::vector<std::string> names = {"auto", "cpu", "cuda", "emulated"};
  fail(ErrorKind::usage, "--device {}: auto, cpu, cuda or emulated{}", name,
       did_you_mean(name, names));
}

std::string devices_text() {
  return fmt::format("cpu: {}", cpu_text());
}

}  // namespace mono
