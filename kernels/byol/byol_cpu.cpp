// BYOL's loss on the CPU: a row per unit, sums in double and in order.
#include "kernels/base/thread_pool.h"
#include "kernels/byol/byol.h"
#include "kernels/byol/byol_row.h"

namespace mono {
namespace {

template <class T>
ByolRow row_of(const ByolLoss<T>& args, const T* p, const T* z) {
  double pp = 0, zz = 0, pz = 0;
  for (int c = 0; c < args.C; ++c) {
    const double a = static_cast<Master<T>>(p[c]), b = static_cast<Master<T>>(z[c]);
    pp += a * a;
    zz += b * b;
    pz += a * b;
  }
  return {pp, zz, pz, args.eps};
}

// The target's row of the other view.
template <class T>
const T* target_of(const ByolLoss<T>& args, int64_t row) {
  return args.target + (row < args.B ? row + args.B : row - args.B) * args.C;
}

}  // namespace

template <class T>
void byol_forward(const ByolLoss<T>& args, Master<T>* losses) {
  parallel_for(2 * int64_t{args.B}, [&](int64_t r, int) {
    const ByolRow row = row_of(args, args.prediction + r * args.C, target_of(args, r));
    losses[r] = static_cast<Master<T>>(args.scale * (2 - 2 * row.cosine));
  });
}

template <class T>
void byol_backward(const ByolLoss<T>& args, double weight, T* dprediction, GradMode mode) {
  using M = Master<T>;
  if (mode == GradMode::ignore) return;
  parallel_for(2 * int64_t{args.B}, [&](int64_t r, int) {
    const T *p = args.prediction + r * args.C, *z = target_of(args, r);
    T* const to = dprediction + r * args.C;
    const ByolRow row = row_of(args, p, z);
    const double factor = -2 * weight * args.scale;
    const M along_z = static_cast<M>(factor * row.along_z());
    const M along_p = static_cast<M>(factor * row.along_p());
    for (int c = 0; c < args.C; ++c) {
      const M g = along_z * static_cast<M>(z[c]) + along_p * static_cast<M>(p[c]);
      to[c] = T(mode == GradMode::accumulate ? static_cast<M>(to[c]) + g : g);
    }
  });
}

#define MONO_INSTANTIATE(T)                                   \
  template void byol_forward(const ByolLoss<T>&, Master<T>*); \
  template void byol_backward(const ByolLoss<T>&, double, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
