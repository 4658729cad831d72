// What the files of this folder share. Not for callers.
#pragma once

#include "kernels/base/workspace.h"
#include "kernels/linear/linear.h"

namespace mono {

// Throws unless the problem makes sense.
void check_linear(const LinearProblem& problem);

// g = keep dy: factor keep[r / rows_per_keep] for row r of (rows, columns), on the stream's device.
template <class T>
void scale_rows(Stream stream, int rows, int columns, int rows_per_keep, const float* keep,
                const T* dy, T* g);

// Passes around a matrix product of the variant that `matmul` names for a problem.
using ChooseMatmul = MatmulVariant (*)(Device device, const MatmulProblem& problem, DType dtype);
size_t linear_composed_workspace(Device device, ChooseMatmul matmul, LinearPass pass,
                                 const LinearProblem& problem, DType dtype);
template <class T>
void linear_composed_forward(Stream stream, ChooseMatmul matmul, const LinearProblem& problem,
                             const LinearForward<T>& args, std::span<std::byte> workspace);
template <class T>
void linear_composed_backward(Stream stream, ChooseMatmul matmul, const LinearProblem& problem,
                              const LinearBackward<T>& args, std::span<std::byte> workspace);

// CPU: on AMX for bf16 where there is AMX, else on gemm_add.
size_t linear_fused_workspace(LinearPass pass, const LinearProblem& problem, DType dtype);
template <class T>
void linear_fused_forward(const LinearProblem& problem, const LinearForward<T>& args,
                          std::span<std::byte> workspace);
template <class T>
void linear_fused_backward(const LinearProblem& problem, const LinearBackward<T>& args,
                           std::span<std::byte> workspace);

}  // namespace mono
