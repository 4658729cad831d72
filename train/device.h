// --device: what the name means on this machine and in this build.
#pragma once

#include <string>

#include "kernels/base/device.h"

namespace mono {

// Turns auto | cpu | cuda | emulated into a device and applies `threads` (0: all cores of this
// process). `auto` says in one line on stderr what it took. A device that this build or machine
// does not have is ErrorKind::device, any other word ErrorKind::usage.
Device choose_device(const std::string& name, int threads);

// One line for each device of this build, with what it is; no newline at the end.
std::string devices_text();

}  // namespace mono
