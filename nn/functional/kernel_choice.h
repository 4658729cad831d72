// Resolves the process-wide KernelChoice to a kernel variant.
#pragma once

#include "kernels/attention/attention.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/dense_block/dense_block.h"
#include "kernels/linear/linear.h"
#include "kernels/matmul/matmul.h"
#include "nn/functional/convolution.h"

namespace mono {

ConvVariant choose_convolution(Device device, ConvPass pass, const ConvProblem& problem,
                               DType dtype);
// The variant that carries a whole dense block.
ConvVariant choose_dense_block(Device device, const DenseBlockProblem& problem, DType dtype);
MatmulVariant choose_matmul(Device device, const MatmulProblem& problem, DType dtype);
AttentionVariant choose_attention(Device device, const AttentionProblem& problem, DType dtype);
LinearVariant choose_linear(Device device, const LinearProblem& problem, DType dtype);

}  // namespace mono
