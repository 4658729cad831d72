// Conversion between element types, outside of autograd.
#pragma once

#include "runtime/tensor.h"

namespace mono {

// A packed copy of a packed tensor in another dtype (f32, bf16, f64); the tensor itself where it
// already has it.
Tensor converted(const Tensor& tensor, DType dtype);

}  // namespace mono
