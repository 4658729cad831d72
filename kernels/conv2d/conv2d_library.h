// What surrounds a library's convolution, so that it runs all that conv2d.h asks for: the prologue
// becomes a pass that writes z (or g) packed, the library's convolution follows, and an epilogue
// becomes a pass over its result. This is what a network costs without fusion; the variants of our
// own do the same in one pass. Variant `cudnn` is this around cuDNN.
//
// The library's results are of type T: with bf16, dz and dw are rounded once more than by the other
// variants (as under autocast elsewhere).
#pragma once

#include <cstddef>
#include <span>

#include "kernels/conv2d/conv2d.h"

namespace mono::conv2d_gpu {

// Packed NHWC and KRSC, all of one type, 16-byte aligned. A pass writes y (fprop), x (dgrad: dx) or
// w (wgrad: dw), and reads the others.
struct PlainOperands {
  void *x, *w, *y;
};
struct PlainConvolution {
  size_t (*workspace_bytes)(ConvPass pass, const ConvProblem& problem, DType dtype);
  void (*run)(Stream stream, ConvPass pass, const ConvProblem& problem, DType dtype,
              const PlainOperands& operands, std::span<std::byte> workspace);
};

size_t library_workspace_bytes(const PlainConvolution& plain, ConvPass pass,
                               const ConvProblem& problem, DType dtype, int segments);
template <class T>
void library_fprop(Stream stream, const PlainConvolution& plain, const ConvProblem& problem,
                   const ConvFprop<T>& args, std::span<std::byte> workspace);
template <class T, class GradT>
void library_dgrad(Stream stream, const PlainConvolution& plain, const ConvProblem& problem,
                   const ConvDgrad<T, GradT>& args, std::span<std::byte> workspace);
template <class T>
void library_wgrad(Stream stream, const PlainConvolution& plain, const ConvProblem& problem,
                   const ConvWgrad<T>& args, std::span<std::byte> workspace);

}  // namespace mono::conv2d_gpu
