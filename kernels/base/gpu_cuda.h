// For files that call the CUDA runtime or a library on it (*_cuda.cpp, and launch() in simt.cuh).
// Compiled only with MONO_CUDA.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <string_view>

#include "kernels/base/device.h"

// Calls a function of the CUDA runtime; throws Error(device) with the call's text where it fails.
#define MONO_CUDA_CALL(call) ::mono::detail::check_cuda((call), #call)

namespace mono {

inline cudaStream_t cuda_stream(Stream stream) {
  return static_cast<cudaStream_t>(stream.handle);
}

namespace detail {

void check_cuda(cudaError_t code, std::string_view call);

// Checks the launch that was just made, and remembers it for the message of a later error. With
// MONO_SYNC_LAUNCH=1 waits for the kernel first.
void after_launch(std::string_view kernel, dim3 grid, dim3 block, size_t dynamic_shared,
                  Stream stream);
// Raises the kernel's limit of dynamic shared memory to `bytes`; once per kernel and size.
void allow_dynamic_shared(std::string_view kernel, const void* function, size_t bytes);

}  // namespace detail
}  // namespace mono
