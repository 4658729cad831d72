#include "nn/functional/concat.h"

#include "kernels/elementwise/elementwise.h"

namespace mono {
namespace {

void copy(const Tensor& from, const Tensor& to, GradMode mode) {
  dispatch_activation(from.dtype(), [&]<class T>() {
    const int rows = from.shape()[0], columns = from.shape().back();
    copy_channels(from.stream(), rows, columns, from.data<T>(), columns, to.data<T>(), columns,
                  mode);
  });
}

}  // namespace

Variable concat_rows(const Variable& a, const Variable& b, const ForwardContext& context) {
  const Tensor &x = a.value(), &y = b.value();
  MONO_CHECK(x.packed() && y.packed() && x.dtype() == y.dtype() && x.shape().rank() == 2 &&
                 y.shape().rank() == 2 && x.shape()[1] == y.shape()[1],
             "rows of {} and of {}", x.to_string(), y.to_string());
  const int split = x.shape()[0], rows = split + y.shape()[0];
  const Tensor both = Tensor::empty({rows, x.shape()[1]}, x.dtype(), x.device());
  copy(x, both.images(0, split), GradMode::overwrite);
  copy(y, both.images(split, rows), GradMode::overwrite);
  const Variable out(both, context.tape && (a.requires_grad() || b.requires_grad()));
  if (context.tape)
    context.tape->record("concat_rows", {a, b}, {out}, {}, [split, rows](Backward& backward) {
      const Tensor gradient = backward.grad();
      for (const size_t input : {0, 1}) {
        const Backward::Target target = backward.target(input);
        if (target.mode == GradMode::ignore) continue;
        copy(input == 0 ? gradient.images(0, split) : gradient.images(split, rows), target.tensor,
             target.mode);
      }
    });
  return out;
}

}  // namespace mono
