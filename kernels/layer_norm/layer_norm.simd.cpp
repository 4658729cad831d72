// A row is a few vectors; every loop runs over it while it is in the first-level cache.
#include "kernels/base/simd_vector.h"
#include "kernels/layer_norm/layer_norm_loops.h"

namespace mono::MONO_ISA {
namespace {

// Calls f(c, full) for the vectors of a row, whose last one may have fewer lanes: n.
template <class M, class Full, class Part>
MONO_INLINE void along(int D, Full&& full, Part&& part) {
  constexpr int kLanes = VecOf<M>::kLanes;
  int c = 0;
  for (; c + kLanes <= D; c += kLanes) full(c);
  if (c < D) part(c, D - c);
}

// The sum of the lanes, as a tree.
template <class M>
MONO_INLINE M lane_sum(typename VecOf<M>::type v) {
  constexpr int kLanes = VecOf<M>::kLanes;
  M lanes[kLanes];
  vstore(lanes, v);
  for (int half = kLanes / 2; half > 0; half /= 2)
    for (int i = 0; i < half; ++i) lanes[i] += lanes[i + half];
  return lanes[0];
}

// v in its first n lanes, zero in the others.
template <class M>
MONO_INLINE typename VecOf<M>::type first_lanes(typename VecOf<M>::type v, int n) {
  M lanes[VecOf<M>::kLanes];
  vstore(lanes, v);
  return vload(lanes, n);
}

template <class T>
MONO_INLINE void statistics(int D, double eps, const T* x, Master<T>* mean, Master<T>* inv_std) {
  using M = Master<T>;
  using V = typename VecOf<M>::type;
  V sum = broadcast(M(0));
  along<M>(
      D, [&](int c) { sum = sum + vload(x + c); },
      [&](int c, int n) { sum = sum + vload(x + c, n); });
  const M m = lane_sum<M>(sum) / static_cast<M>(D);
  const V center = broadcast(m);
  V squares = broadcast(M(0));
  along<M>(
      D,
      [&](int c) {
        const V d = vload(x + c) - center;
        squares = fma(d, d, squares);
      },
      [&](int c, int n) {
        const V d = first_lanes<M>(vload(x + c, n) - center, n);
        squares = fma(d, d, squares);
      });
  *mean = m;
  *inv_std = M(1) / __builtin_sqrt(lane_sum<M>(squares) / static_cast<M>(D) + static_cast<M>(eps));
}

}  // namespace

template <class T>
void layer_norm_statistics_rows(int rows, int D, double eps, const T* x, Master<T>* mean,
                                Master<T>* inv_std) {
  for (int r = 0; r < rows; ++r, x += D) statistics(D, eps, x, mean + r, inv_std + r);
}

template <class T>
void layer_norm_apply_rows(int rows, int D, const T* x, const Master<T>* mean,
                           const Master<T>* inv_std, const Master<T>* gamma, const Master<T>* beta,
                           T* y, int64_t ldy) {
  using M = Master<T>;
  using V = typename VecOf<M>::type;
  for (int r = 0; r < rows; ++r, x += D, y += ldy) {
    const V center = broadcast(mean[r]), scale = broadcast(inv_std[r]);
    along<M>(
        D,
        [&](int c) {
          vstore(y + c, fma((vload(x + c) - center) * scale, vload(gamma + c), vload(beta + c)));
        },
        [&](int c, int n) {
          const V xhat = (vload(x + c, n) - center) * scale;
          vstore(y + c, fma(xhat, vload(gamma + c, n), vload(beta + c, n)), n);
        });
  }
}

template <class G, class T>
void layer_norm_backward_rows(int rows, int D, const G* dy, int64_t lddy, const T* x,
                              const Master<T>* mean, const Master<T>* inv_std,
                              const Master<T>* gamma, T* dx, bool accumulate, Master<T>* dgamma,
                              Master<T>* dbeta) {
  using M = Master<T>;
  using V = typename VecOf<M>::type;
  for (int r = 0; r < rows; ++r, dy += lddy, x += D) {
    const V center = broadcast(mean[r]), scale = broadcast(inv_std[r]);
    V sum = broadcast(M(0)), sum_xhat = broadcast(M(0));
    along<M>(
        D,
        [&](int c) {
          const V d = vload(dy + c), xhat = (vload(x + c) - center) * scale;
          const V g = d * vload(gamma + c);
          sum = sum + g;
          sum_xhat = fma(g, xhat, sum_xhat);
          vstore(dgamma + c, fma(d, xhat, vload(dgamma + c)));
          vstore(dbeta + c, vload(dbeta + c) + d);
        },
        [&](int c, int n) {  // what lies beyond n is zero in d, and so in g
          const V d = vload(dy + c, n), xhat = (vload(x + c, n) - center) * scale;
          const V g = d * vload(gamma + c, n);
          sum = sum + g;
          sum_xhat = fma(g, xhat, sum_xhat);
          vstore(dgamma + c, fma(d, xhat, vload(dgamma + c, n)), n);
          vstore(dbeta + c, vload(dbeta + c, n) + d, n);
        });
    if (!dx) continue;
    const M inverse_D = M(1) / static_cast<M>(D);
    const V a = broadcast(-lane_sum<M>(sum) * inverse_D);
    const V b = broadcast(-lane_sum<M>(sum_xhat) * inverse_D);
    along<M>(
        D,
        [&](int c) {
          const V xhat = (vload(x + c) - center) * scale;
          const V g = fma(xhat, b, fma(vload(dy + c), vload(gamma + c), a));
          vstore(dx + c, accumulate ? fma(g, scale, vload(dx + c)) : g * scale);
        },
        [&](int c, int n) {
          const V xhat = (vload(x + c, n) - center) * scale;
          const V g = fma(xhat, b, fma(vload(dy + c, n), vload(gamma + c, n), a));
          vstore(dx + c, accumulate ? fma(g, scale, vload(dx + c, n)) : g * scale, n);
        });
    dx += D;
  }
}

#define MONO_INSTANTIATE_BACKWARD(G, T)                                                            \
  template void layer_norm_backward_rows<G, T>(                                                    \
      int, int, const G*, int64_t, const T*, const Master<T>*, const Master<T>*, const Master<T>*, \
      T*, bool, Master<T>*, Master<T>*);
#define MONO_INSTANTIATE(T)                                                                        \
  template void layer_norm_statistics_rows<T>(int, int, double, const T*, Master<T>*, Master<T>*); \
  template void layer_norm_apply_rows<T>(int, int, const T*, const Master<T>*, const Master<T>*,   \
                                         const Master<T>*, const Master<T>*, T*, int64_t);         \
  MONO_INSTANTIATE_BACKWARD(T, T)
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
MONO_INSTANTIATE_BACKWARD(float, bf16)

}  // namespace mono::MONO_ISA
