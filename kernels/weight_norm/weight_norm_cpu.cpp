// Weight normalisation on the CPU: a row per unit, sums in double and in order.
#include <cmath>

#include "kernels/base/thread_pool.h"
#include "kernels/weight_norm/weight_norm.h"

namespace mono {

template <class M>
void weight_norm_forward(int rows, int C, const M* v, const M* g, M* w, M* norms) {
  parallel_for(rows, [&](int64_t r, int) {
    const M* from = v + r * C;
    double squares = 0;
    for (int c = 0; c < C; ++c) squares += double{from[c]} * double{from[c]};
    const M norm = static_cast<M>(std::sqrt(squares)), scale = g[r] / norm;
    for (int c = 0; c < C; ++c) w[r * C + c] = scale * from[c];
    norms[r] = norm;
  });
}

template <class M>
void weight_norm_backward(int rows, int C, const WeightNormBackward<M>& args) {
  const auto put = [](M& to, M value, GradMode mode) {
    if (mode != GradMode::ignore) to = mode == GradMode::accumulate ? to + value : value;
  };
  parallel_for(rows, [&](int64_t r, int) {
    const M *v = args.v + r * C, *dw = args.dw + r * C;
    const M norm = args.norms[r], scale = args.g[r] / norm;
    double product = 0;
    for (int c = 0; c < C; ++c) product += double{dw[c]} * double{v[c]};
    const M along = static_cast<M>(product / (double{norm} * double{norm}));
    if (args.dv)
      for (int c = 0; c < C; ++c)
        put(args.dv[r * C + c], scale * (dw[c] - v[c] * along), args.dv_mode);
    if (args.dg) put(args.dg[r], static_cast<M>(product / double{norm}), args.dg_mode);
  });
}

#define MONO_INSTANTIATE(M)                                                \
  template void weight_norm_forward(int, int, const M*, const M*, M*, M*); \
  template void weight_norm_backward(int, int, const WeightNormBackward<M>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(double)

}  // namespace mono
