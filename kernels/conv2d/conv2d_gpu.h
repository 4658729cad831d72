// The variants of the GPU (conv2d.cu), for conv2d.cpp; problems and arguments arrive checked and
// with their pitches filled in.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/conv2d/conv2d.h"

namespace mono::conv2d_gpu {

constexpr bool has(ConvVariant variant) {
  return variant >= ConvVariant::naive;
}
bool supports(ConvVariant variant, DType dtype);
ConvVariant choose(ConvPass pass, const ConvProblem& problem, DType dtype);
size_t workspace_bytes(ConvVariant variant, ConvPass pass, const ConvProblem& problem, DType dtype,
                       int segments);
template <class T>
void fprop(Stream stream, ConvVariant variant, const ConvProblem& problem, const ConvFprop<T>& args,
           std::span<std::byte> workspace);
template <class T, class GradT>
void dgrad(Stream stream, ConvVariant variant, const ConvProblem& problem,
           const ConvDgrad<T, GradT>& args, std::span<std::byte> workspace);
template <class T>
void wgrad(Stream stream, ConvVariant variant, const ConvProblem& problem, const ConvWgrad<T>& args,
           std::span<std::byte> workspace);

}  // namespace mono::conv2d_gpu
