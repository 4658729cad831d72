// Resolves the process-wide KernelChoice to a kernel variant.
#pragma once

#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"
#include "nn/functional/convolution.h"

namespace mono {

ConvVariant choose_convolution(ConvPass pass, const ConvProblem& problem, DType dtype);
MatmulVariant choose_matmul(const MatmulProblem& problem, DType dtype);

}  // namespace mono
