// Internal to conv2d: the implicit_gemm variant behind the entry points of conv2d.h.
//
// Own register-tiled kernels in three levels: f32 on AVX-512, bf16 on AVX-512-BF16 (vdpbf16ps), and
// bf16 on AMX tiles. Prologues run while packing, epilogues on each finished tile; operands may be
// channel slices of a larger buffer. See README.md.
#pragma once

#include "kernels/conv2d/conv2d.h"

namespace mono::implicit_gemm {

bool supports(ConvPass pass, const ConvProblem& problem, DType dtype);
size_t workspace_bytes(ConvPass pass, const ConvProblem& problem, DType dtype, int segments);

// Arguments as conv2d.cpp has checked and completed them. T is float or bf16; GradT is T or float.
template <class T>
void fprop(const ConvProblem& problem, const ConvFprop<T>& args, std::span<std::byte> workspace);
template <class T, class GradT>
void dgrad(const ConvProblem& problem, const ConvDgrad<T, GradT>& args,
           std::span<std::byte> workspace);
template <class T>
void wgrad(const ConvProblem& problem, const ConvWgrad<T>& args, std::span<std::byte> workspace);

}  // namespace mono::implicit_gemm
