#include "nn/optim/flat_norm.h"

#include <cmath>

#include "kernels/elementwise/elementwise.h"

namespace mono {

double flat_norm(const Tensor& array) {
  double squares = 0;
  dispatch_master(array.dtype(),
                  [&]<class M>() { squares = sum_of_squares(array.elements(), array.data<M>()); });
  return std::sqrt(squares);
}

const Parameter* first_not_finite(const ParameterArena& arena, const Tensor& array) {
  const auto& parameters = arena.parameters();
  for (auto p = parameters.rbegin(); p != parameters.rend(); ++p)
    if (!std::isfinite(flat_norm(arena.view(array, *p)))) return &*p;
  return nullptr;
}

}  // namespace mono
