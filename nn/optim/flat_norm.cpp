#include "nn/optim/flat_norm.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"

namespace mono {

double flat_norm(const Tensor& array) {
  const Tensor squares = Tensor::empty({1}, DType::f64, array.device());
  const int64_t n = array.elements();
  Workspace workspace(sum_of_squares_workspace_bytes(array.device(), n), array.device());
  dispatch_master(array.dtype(), [&]<class M>() {
    sum_of_squares<M>(array.stream(), n, array.data<M>(), squares.data<double>(), workspace);
  });
  return std::sqrt(squares.to(Device::cpu).data<double>()[0]);
}

const Parameter* first_not_finite(const ParameterArena& arena, const Tensor& array) {
  const auto& parameters = arena.parameters();
  const Tensor host = array.to(Device::cpu);
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p)
    if (!std::isfinite(flat_norm(arena.view(host, *p)))) return &*p;
  return nullptr;
}

}  // namespace mono
