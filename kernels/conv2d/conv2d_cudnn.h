// cuDNN's convolutions, for variant `cudnn` and for measuring our own against. In builds with CUDA
// and cuDNN's headers (conv2d_cudnn_cuda.cpp); the library is opened when first used. Not for
// callers.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "kernels/conv2d/conv2d_library.h"

namespace mono::conv2d_gpu {

#ifdef MONO_CUDNN
inline constexpr bool kHasCudnn = true;
#else
inline constexpr bool kHasCudnn = false;
#endif

// Whether this machine has the library; opens it.
bool cudnn_found();

// bf16 with f32 sums on tensor cores; f32 without them (no TF32). Deterministic algorithms only.
// Which one: the first of the library's heuristic that runs; asked once per pass, problem and GPU.
extern const PlainConvolution kCudnn;

// The algorithms for an f32 or bf16 pass on a GPU given by its serialised properties (cuDNN's
// JSON), best first, as numbers of cuDNN's engines: what can be asked without having that GPU.
std::vector<int64_t> cudnn_engines(ConvPass pass, const ConvProblem& problem, DType dtype,
                                   const std::string& gpu);

}  // namespace mono::conv2d_gpu
