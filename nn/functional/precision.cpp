#include "nn/functional/precision.h"

#include "kernels/elementwise/elementwise.h"

namespace mono {

Tensor converted(const Tensor& tensor, DType dtype) {
  MONO_CHECK(tensor.packed(), "converted() of a pitched tensor {}", tensor.to_string());
  if (tensor.dtype() == dtype) return tensor;
  const Tensor out = Tensor::empty(tensor.shape(), dtype, tensor.device());
  dispatch_activation(dtype, [&]<class To>() {
    dispatch_activation(tensor.dtype(), [&]<class From>() {
      convert<To, From>(tensor.stream(), tensor.elements(), tensor.data<From>(), out.data<To>());
    });
  });
  return out;
}

}  // namespace mono
