// Where a tensor lives. One binary has the CPU and at most one of cuda and emulated.
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

}  // namespace mono
