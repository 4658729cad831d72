// Between the emulated device (gpu_emulated.cpp) and the scheduler (emulator.cpp).
#pragma once

#include <functional>
#include <string>

#include "kernels/simt/emulator.h"

namespace mono::simt {

// Runs a launch to its end. What is wrong with it, or nothing.
std::string run_launch(std::string_view kernel, dim3 grid, dim3 block, size_t dynamic_shared,
                       const std::function<void()>& body);

}  // namespace mono::simt
