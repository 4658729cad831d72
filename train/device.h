// --device: what the name means on this machine and in this build.
#pragma once

#include <cstdint>
#include <string>

#include "kernels/base/device.h"

namespace mono {

// Turns auto | cpu | cuda | emulated into a device and applies `threads` (0: all cores of this
// process). `auto` takes the GPU where there is one, never the emulator, and says in one line on
// stderr what it took and why, unless `quiet`. A device that this build or machine does not have is
// ErrorKind::device, any other word ErrorKind::usage.
Device choose_device(const std::string& name, int threads, bool quiet = false);

// One line for each device of this build, with what it is; no newline at the end.
std::string devices_text();

// "NVIDIA H100 80GB HBM3" or the CPU's name.
std::string name_of_hardware(Device device);

// The most memory that tensors on the device have taken since the start, bytes.
int64_t peak_tensor_bytes(Device device);

}  // namespace mono
