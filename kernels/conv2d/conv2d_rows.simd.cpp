// The row passes for one instruction set. Elementwise passes walk pixels outermost; passes with
// sums take one vector of channels through a block of pixels, so that the sums stay in registers.
#include "kernels/conv2d/conv2d_rows.h"
#include "kernels/base/simd_vector.h"

namespace mono::MONO_ISA {
namespace {

constexpr int64_t kSumBlock = 32;  // pixels summed in Master<T> before going over to double

template <class T>
constexpr int lanes = VecOf<Master<T>>::kLanes;

// Calls f(c, n) for each vector of channels: n lanes from channel c, n < lanes in the last one.
template <int kLanes, class F>
MONO_INLINE void for_channels(int C, F&& f) {
  int c = 0;
  for (; c + kLanes <= C; c += kLanes) f(c, kLanes);
  if (c < C) f(c, C - c);
}

template <int kLanes, class E>
MONO_INLINE auto load_lanes(const E* p, int n) {
  return n == kLanes ? vload(p) : vload(p, n);
}
template <int kLanes, class E, class V>
MONO_INLINE void store_lanes(E* p, V v, int n) {
  if (n == kLanes)
    vstore(p, v);
  else
    vstore(p, v, n);
}

}  // namespace

template <class T, class Z>
void pack_rows(const PackRows<T, Z>& rows, int64_t n) {
  constexpr int kLanes = lanes<T>;
  for (int64_t i = 0; i < n; ++i) {
    const T* x = rows.x + i * rows.ldx;
    Z* z = rows.z + i * rows.ldz;
    if (rows.scale)
      for_channels<kLanes>(rows.C, [&](int c, int m) {
        const auto v = relu(fma(load_lanes<kLanes>(rows.scale + c, m), load_lanes<kLanes>(x + c, m),
                                load_lanes<kLanes>(rows.shift + c, m)));
        store_lanes<kLanes>(z + c, round_to<T>(v), m);
      });
    else
      for_channels<kLanes>(rows.C, [&](int c, int m) {
        store_lanes<kLanes>(z + c, load_lanes<kLanes>(x + c, m), m);
      });
  }
}

template <class T, class GradT, class Z>
void gradient_rows(const GradientRows<T, GradT, Z>& rows, int64_t n) {
  constexpr int kLanes = lanes<T>;
  for (int64_t i = 0; i < n; ++i) {
    const GradT* dy = rows.dy + i * rows.lddy;
    const T* y = rows.y + i * rows.ldy;
    Z* g = rows.g + i * rows.ldg;
    for_channels<kLanes>(rows.K, [&](int k, int m) {
      auto v = load_lanes<kLanes>(dy + k, m);
      if (rows.a) v = load_lanes<kLanes>(rows.a + k, m) * v;
      if (rows.b)
        v = v + fma(load_lanes<kLanes>(rows.b + k, m), load_lanes<kLanes>(y + k, m),
                    load_lanes<kLanes>(rows.c + k, m));
      store_lanes<kLanes>(g + k, round_to<T>(v), m);
    });
  }
}

template <class T>
void store_rows(const Master<T>* source, int64_t ld_source, int K, int64_t n, T* y, int64_t ldy) {
  constexpr int kLanes = lanes<T>;
  for (int64_t i = 0; i < n; ++i)
    for_channels<kLanes>(K, [&](int k, int m) {
      store_lanes<kLanes>(y + i * ldy + k, load_lanes<kLanes>(source + i * ld_source + k, m), m);
    });
}

template <class T>
void moments_rows(const T* y, int64_t ldy, int K, int64_t n, double* mean, double* m2) {
  using M = Master<T>;
  constexpr int kLanes = lanes<T>;
  for_channels<kLanes>(K, [&](int k, int m) {
    const auto origin = load_lanes<kLanes>(y + k, m);
    double sum[kLanes] = {}, squares[kLanes] = {};
    for (int64_t begin = 0; begin < n; begin += kSumBlock) {
      const int64_t end = begin + kSumBlock < n ? begin + kSumBlock : n;
      auto s = broadcast(M(0)), q = broadcast(M(0));
      for (int64_t i = begin; i < end; ++i) {
        const auto d = load_lanes<kLanes>(y + i * ldy + k, m) - origin;
        s = s + d;
        q = fma(d, d, q);
      }
      M block_sum[kLanes], block_squares[kLanes];
      vstore(block_sum, s);
      vstore(block_squares, q);
      for (int j = 0; j < kLanes; ++j) {
        sum[j] += static_cast<double>(block_sum[j]);
        squares[j] += static_cast<double>(block_squares[j]);
      }
    }
    M first[kLanes];
    vstore(first, origin);
    for (int j = 0; j < kLanes && j < m; ++j) {
      const double shift = sum[j] / static_cast<double>(n);
      const double deviation = squares[j] - sum[j] * shift;
      mean[k + j] = static_cast<double>(first[j]) + shift;
      m2[k + j] = deviation < 0 ? 0 : deviation;
    }
  });
}

template <class T, class GradT>
void input_gradient_rows(const InputGradientRows<T, GradT>& rows, int64_t n) {
  using M = Master<T>;
  constexpr int kLanes = lanes<T>;
  for (int64_t begin = 0; begin < n; begin += kSumBlock) {
    const int64_t end = begin + kSumBlock < n ? begin + kSumBlock : n;
    for_channels<kLanes>(rows.C, [&](int c, int m) {
      const auto zero = broadcast(M(0));
      const auto multiply = rows.multiply ? load_lanes<kLanes>(rows.multiply + c, m) : zero;
      const auto scale = rows.scale ? load_lanes<kLanes>(rows.scale + c, m) : zero;
      const auto shift = rows.scale ? load_lanes<kLanes>(rows.shift + c, m) : zero;
      const auto mean = rows.sum_dzx ? load_lanes<kLanes>(rows.mean + c, m) : zero;
      auto sum = zero, sum_x = zero;
      for (int64_t i = begin; i < end; ++i) {
        auto dz = load_lanes<kLanes>(rows.dz + i * rows.lddz + c, m);
        if (rows.scale) {
          const auto x = load_lanes<kLanes>(rows.x + i * rows.ldx + c, m);
          dz = where_positive(fma(scale, x, shift), dz);
          sum = sum + dz;
          sum_x = fma(dz, x - mean, sum_x);
        }
        if (!rows.dx) continue;
        if (rows.multiply) dz = multiply * dz;
        GradT* dx = rows.dx + i * rows.lddx + c;
        if (rows.accumulate) dz = load_lanes<kLanes>(dx, m) + dz;
        store_lanes<kLanes>(dx, dz, m);
      }
      M block[kLanes];
      if (rows.sum_dz) {
        vstore(block, sum);
        for (int j = 0; j < kLanes && j < m; ++j)
          rows.sum_dz[c + j] += static_cast<double>(block[j]);
      }
      if (rows.sum_dzx) {
        vstore(block, sum_x);
        for (int j = 0; j < kLanes && j < m; ++j)
          rows.sum_dzx[c + j] += static_cast<double>(block[j]);
      }
    });
  }
}

#include "kernels/conv2d/conv2d_rows_instances.h"

}  // namespace mono::MONO_ISA
