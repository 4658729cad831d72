// Inner loops run over channels, which are contiguous; sums take four pixels at a time, so that the
// row of accumulators (in the first-level cache) is read and written once for four rows of input.
#include "kernels/batch_norm/batch_norm_loops.h"

#include "kernels/base/simd.h"

namespace mono::MONO_ISA {
namespace {

template <int kRows, class T>
MONO_INLINE void add_moments(int C, const T* x, int64_t ldx, const Master<T>* origin,
                             Master<T>* sum, Master<T>* sum_sq) {
  using M = Master<T>;
  MONO_VECTORISE
  for (int c = 0; c < C; ++c) {
    M s = 0, q = 0;
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const M d = load(x + row * ldx + c) - origin[c];
      s += d;
      q = madd(d, d, q);
    }
    sum[c] += s;
    sum_sq[c] += q;
  }
}

template <ReluMask kMask, class T>
MONO_INLINE Master<T> masked(const BatchNormRows<T>& r, Master<T> dy, Master<T> x, const T* y,
                             int c) {
  if constexpr (kMask == ReluMask::none) return dy;
  if constexpr (kMask == ReluMask::recompute)
    return madd(r.scale[c], x, r.shift[c]) > 0 ? dy : Master<T>(0);
  if constexpr (kMask == ReluMask::from_y) return load(y) > 0 ? dy : Master<T>(0);
}

template <ReluMask kMask, int kRows, class T>
MONO_INLINE void add_sums(const BatchNormRows<T>& r, int64_t pixel, Master<T>* sum_dz,
                          Master<T>* sum_dzx) {
  using M = Master<T>;
  const T* dy = r.dy + pixel * r.ldy;
  const T* x = r.x + pixel * r.ldx;
  const T* y = r.y + pixel * r.ldy;
  MONO_VECTORISE
  for (int c = 0; c < r.C; ++c) {
    M s = 0, q = 0;
#pragma GCC unroll 4
    for (int row = 0; row < kRows; ++row) {
      const M v = load(x + row * r.ldx + c);
      const M dz = masked<kMask>(r, load(dy + row * r.ldy + c), v, y + row * r.ldy + c, c);
      s += dz;
      q = madd(dz, v - r.mean[c], q);
    }
    sum_dz[c] += s;
    sum_dzx[c] += q;
  }
}

template <ReluMask kMask, class T>
void sums(const BatchNormRows<T>& r, Master<T>* sum_dz, Master<T>* sum_dzx) {
  int64_t pixel = 0;
  for (; pixel + 4 <= r.pixels; pixel += 4) add_sums<kMask, 4>(r, pixel, sum_dz, sum_dzx);
  for (; pixel < r.pixels; ++pixel) add_sums<kMask, 1>(r, pixel, sum_dz, sum_dzx);
}

template <ReluMask kMask, bool kAffine, GradMode kDx, GradMode kResidual, class T>
void gradients(const BatchNormRows<T>& r, const Master<T>* b, const Master<T>* c0, T* dx_rows,
               T* dresidual_rows) {
  using M = Master<T>;
  for (int64_t pixel = 0; pixel < r.pixels; ++pixel) {
    const T* dy = r.dy + pixel * r.ldy;
    const T* x = r.x + pixel * r.ldx;
    const T* y = r.y + pixel * r.ldy;
    T* dx = dx_rows + (kDx != GradMode::ignore ? pixel * r.ldx : 0);
    T* dresidual = dresidual_rows + (kResidual != GradMode::ignore ? pixel * r.ldy : 0);
    MONO_VECTORISE
    for (int c = 0; c < r.C; ++c) {
      const M v = load(x + c);
      const M dz = masked<kMask>(r, load(dy + c), v, y + c, c);
      if constexpr (kResidual == GradMode::overwrite) store(dresidual + c, dz);
      if constexpr (kResidual == GradMode::accumulate)
        store(dresidual + c, load(dresidual + c) + dz);
      if constexpr (kDx != GradMode::ignore) {
        M d = r.scale[c] * dz;
        if constexpr (kAffine) d = madd(r.scale[c], dz, madd(b[c], v - r.mean[c], c0[c]));
        if constexpr (kDx == GradMode::accumulate) d += load(dx + c);
        store(dx + c, d);
      }
    }
  }
}

template <ReluMask kMask, bool kAffine, GradMode kDx, class T>
void gradients(const BatchNormRows<T>& r, const Master<T>* b, const Master<T>* c, T* dx,
               T* dresidual, GradMode mode) {
  using enum GradMode;
  if (mode == ignore) gradients<kMask, kAffine, kDx, ignore>(r, b, c, dx, dresidual);
  if (mode == overwrite) gradients<kMask, kAffine, kDx, overwrite>(r, b, c, dx, dresidual);
  if (mode == accumulate) gradients<kMask, kAffine, kDx, accumulate>(r, b, c, dx, dresidual);
}

template <ReluMask kMask, bool kAffine, class T>
void gradients(const BatchNormRows<T>& r, const Master<T>* b, const Master<T>* c, T* dx,
               GradMode dx_mode, T* dresidual, GradMode mode) {
  using enum GradMode;
  if (dx_mode == ignore) gradients<kMask, kAffine, ignore>(r, b, c, dx, dresidual, mode);
  if (dx_mode == overwrite) gradients<kMask, kAffine, overwrite>(r, b, c, dx, dresidual, mode);
  if (dx_mode == accumulate) gradients<kMask, kAffine, accumulate>(r, b, c, dx, dresidual, mode);
}

}  // namespace

template <class T>
void batch_norm_moments_unit(int64_t pixels, int C, const T* x, int64_t ldx, Master<T>* origin) {
  using M = Master<T>;
  M *sum = origin + C, *sum_sq = origin + 2 * C;
  for (int c = 0; c < 3 * C; ++c) origin[c] = 0;
  const int64_t rows = pixels < kOriginPixels ? pixels : kOriginPixels;
  const M weight = M(1) / static_cast<M>(rows);
  for (int64_t row = 0; row < rows; ++row)
    for (int c = 0; c < C; ++c) origin[c] = madd(weight, load(x + row * ldx + c), origin[c]);
  int64_t pixel = 0;
  for (; pixel + 4 <= pixels; pixel += 4)
    add_moments<4>(C, x + pixel * ldx, ldx, origin, sum, sum_sq);
  for (; pixel < pixels; ++pixel) add_moments<1>(C, x + pixel * ldx, ldx, origin, sum, sum_sq);
}

template <class M>
void batch_norm_moments_merge(int64_t pixels, int64_t unit_pixels, int channels, const M* partial,
                              int C, M* mean, M* variance) {
  double mu[kBatchNormChannelBlock], m2[kBatchNormChannelBlock];
  for (int c = 0; c < channels; ++c) mu[c] = m2[c] = 0;
  for (int64_t begin = 0; begin < pixels; begin += unit_pixels, partial += 3 * C) {
    const double n = begin;
    const double m = unit_pixels < pixels - begin ? unit_pixels : pixels - begin;
    const double inverse = 1.0 / m, share = m / (n + m), weight = n * share;
    for (int c = 0; c < channels; ++c) {
      const double s = partial[C + c];
      const double delta = partial[c] + s * inverse - mu[c];
      mu[c] += delta * share;
      m2[c] += partial[2 * C + c] - s * s * inverse + delta * delta * weight;
    }
  }
  for (int c = 0; c < channels; ++c) {
    mean[c] = static_cast<M>(mu[c]);
    const double v = m2[c] / pixels;
    variance[c] = static_cast<M>(v < 0 ? 0 : v);  // rounding can leave -1e-17; NaN stays
  }
}

template <class T>
void batch_norm_apply_unit(int64_t pixels, int C, const T* x, int64_t ldx, const Master<T>* scale,
                           const Master<T>* shift, const T* residual, T* y, int64_t ldy,
                           bool relu) {
  using M = Master<T>;
  const M floor = relu ? M(0) : -__builtin_inf();
  for (int64_t pixel = 0; pixel < pixels; ++pixel, x += ldx, y += ldy) {
    if (residual) {
      MONO_VECTORISE
      for (int c = 0; c < C; ++c) {
        const M z = madd(scale[c], load(x + c), shift[c]) + load(residual + c);
        store(y + c, z < floor ? floor : z);  // in this form NaN goes through
      }
      residual += ldy;
    } else {
      MONO_VECTORISE
      for (int c = 0; c < C; ++c) {
        const M z = madd(scale[c], load(x + c), shift[c]);
        store(y + c, z < floor ? floor : z);
      }
    }
  }
}

template <class T>
void batch_norm_sums_unit(const BatchNormRows<T>& r, Master<T>* sum_dz, Master<T>* sum_dzx) {
  for (int c = 0; c < r.C; ++c) sum_dz[c] = sum_dzx[c] = 0;
  if (r.mask == ReluMask::none) sums<ReluMask::none>(r, sum_dz, sum_dzx);
  if (r.mask == ReluMask::recompute) sums<ReluMask::recompute>(r, sum_dz, sum_dzx);
  if (r.mask == ReluMask::from_y) sums<ReluMask::from_y>(r, sum_dz, sum_dzx);
}

template <class T>
void batch_norm_dx_unit(const BatchNormRows<T>& r, const Master<T>* b, const Master<T>* c, T* dx,
                        GradMode dx_mode, T* dresidual, GradMode mode) {
  const auto run = [&]<ReluMask kMask>() {
    if (b)
      gradients<kMask, true>(r, b, c, dx, dx_mode, dresidual, mode);
    else
      gradients<kMask, false>(r, b, c, dx, dx_mode, dresidual, mode);
  };
  if (r.mask == ReluMask::none) run.template operator()<ReluMask::none>();
  if (r.mask == ReluMask::recompute) run.template operator()<ReluMask::recompute>();
  if (r.mask == ReluMask::from_y) run.template operator()<ReluMask::from_y>();
}

#define MONO_INSTANTIATE(T)                                                                        \
  template void batch_norm_moments_unit<T>(int64_t, int, const T*, int64_t, Master<T>*);           \
  template void batch_norm_apply_unit<T>(int64_t, int, const T*, int64_t, const Master<T>*,        \
                                         const Master<T>*, const T*, T*, int64_t, bool);           \
  template void batch_norm_sums_unit<T>(const BatchNormRows<T>&, Master<T>*, Master<T>*);          \
  template void batch_norm_dx_unit<T>(const BatchNormRows<T>&, const Master<T>*, const Master<T>*, \
                                      T*, GradMode, T*, GradMode);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void batch_norm_moments_merge<float>(int64_t, int64_t, int, const float*, int, float*,
                                              float*);
template void batch_norm_moments_merge<double>(int64_t, int64_t, int, const double*, int, double*,
                                               double*);

}  // namespace mono::MONO_ISA
