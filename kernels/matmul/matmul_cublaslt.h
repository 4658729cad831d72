// Variant `cublaslt`: the vendor's library, to measure the own kernels against. Only in builds with
// CUDA (matmul_cublaslt_cuda.cpp). Not for callers.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/device.h"
#include "kernels/matmul/matmul.h"

namespace mono {

inline constexpr size_t kCublasLtWorkspaceBytes = size_t{32}
                                                  << 20;  // what NVIDIA advises on Hopper

struct CublasLtCall {
  const void* a;  // of type `compute`, f32 or bf16
  const void* b;
  const float* bias;  // (N), with an f32 result; null: none
  void* c;            // of type `out`, f32 or bf16
  DType compute, out;
  bool accumulate;
};
// Whether this machine has the library; opens it.
bool cublaslt_found();

// Sums in f32, also those of f32 operands (no TF32). The algorithm is the first that the library's
// heuristic offers, asked once per problem, alignment and device.
void matmul_cublaslt(Stream stream, const MatmulProblem& problem, const CublasLtCall& call,
                     std::span<std::byte> workspace);

}  // namespace mono
