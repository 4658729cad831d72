#include "nn/functional/kernel_choice.h"

namespace mono {
namespace {
KernelChoice current = KernelChoice::automatic;
}

void set_kernel_choice(KernelChoice choice) {
  current = choice;
}
KernelChoice kernel_choice() {
  return current;
}

KernelChoice parse_kernel_choice(const std::string& name) {
  if (name == "auto") return KernelChoice::automatic;
  if (name == "reference") return KernelChoice::reference;
  if (name == "onednn") return KernelChoice::onednn;
  if (name == "implicit_gemm") return KernelChoice::implicit_gemm;
  fail(ErrorKind::usage, "unknown kernels '{}'; expected auto, reference, onednn or implicit_gemm",
       name);
}

namespace {
// What the choice means on a device; of the GPU, oneDNN means nothing.
ConvVariant wanted_convolution(Device device) {
  const bool gpu = device != Device::cpu;
  switch (current) {
    case KernelChoice::reference:
      return gpu ? ConvVariant::naive : ConvVariant::reference;
    case KernelChoice::implicit_gemm:
      return gpu ? ConvVariant::implicit_gemm_mma : ConvVariant::implicit_gemm;
    default:
      return ConvVariant::onednn;
  }
}
}  // namespace

ConvVariant choose_convolution(Device device, ConvPass pass, const ConvProblem& problem,
                               DType dtype) {
  const ConvVariant wanted = wanted_convolution(device);
  if (current != KernelChoice::automatic && conv2d_supports(device, wanted, pass, problem, dtype))
    return wanted;
  return conv2d_choose(device, pass, problem, dtype);
}

ConvVariant choose_dense_block(const Device device, const DenseBlockProblem& problem, DType dtype) {
  const ConvVariant wanted = wanted_convolution(device);
  if (current != KernelChoice::automatic && dense_block_supports(device, wanted, problem, dtype))
    return wanted;
  return dense_block_choose(device, problem, dtype);
}

MatmulVariant choose_matmul(Device device, const MatmulProblem& problem, DType dtype) {
  if (current == KernelChoice::reference)
    return device == Device::cpu ? MatmulVariant::reference : MatmulVariant::naive;
  return matmul_choose(device, problem, dtype);
}

AttentionVariant choose_attention(Device device, const AttentionProblem& problem, DType dtype) {
  if (current == KernelChoice::reference)
    return device == Device::cpu ? AttentionVariant::reference : AttentionVariant::naive;
  return attention_choose(device, problem, dtype);
}

LinearVariant choose_linear(Device device, const LinearProblem& problem, DType dtype) {
  if (current == KernelChoice::reference) return LinearVariant::reference;
  return linear_choose(device, problem, dtype);
}

}  // namespace mono
