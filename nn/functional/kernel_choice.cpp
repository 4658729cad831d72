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

ConvVariant choose_convolution(ConvPass pass, const ConvProblem& problem, DType dtype) {
  const ConvVariant wanted = current == KernelChoice::reference ? ConvVariant::reference
                             : current == KernelChoice::onednn  ? ConvVariant::onednn
                                                                : ConvVariant::implicit_gemm;
  if (current != KernelChoice::automatic &&
      conv2d_supports(Device::cpu, wanted, pass, problem, dtype))
    return wanted;
  return conv2d_choose(Device::cpu, pass, problem, dtype);
}

MatmulVariant choose_matmul(const MatmulProblem& problem, DType dtype) {
  const bool reference = current == KernelChoice::reference;
  return reference ? MatmulVariant::reference : matmul_choose(Device::cpu, problem, dtype);
}

}  // namespace mono
