// Where memory lives and where work runs.
#pragma once

#include <cstdint>
#include <string_view>

namespace mono {

enum class Device : uint8_t { cpu, cuda, emulated };

constexpr std::string_view name_of(Device device) {
  switch (device) {
    case Device::cpu:
      return "cpu";
    case Device::cuda:
      return "cuda";
    case Device::emulated:
      return "emulated";
  }
  return "?";
}

// One binary has the CPU and one of these: the real GPU where nvcc compiled the kernels, else the
// SIMT emulator.
#ifdef MONO_CUDA
inline constexpr Device kGpu = Device::cuda;
#else
inline constexpr Device kGpu = Device::emulated;
#endif

// The order of work on a device. A Stream of the CPU (the default) has done the work when the call
// returns; one of the GPU has only taken it on. A plain handle; runtime/stream.h owns streams.
struct Stream {
  Device device = Device::cpu;
  void* handle = nullptr;  // cudaStream_t, or the emulator's queue

  bool on_gpu() const { return device != Device::cpu; }
  bool operator==(const Stream&) const = default;
};

}  // namespace mono
