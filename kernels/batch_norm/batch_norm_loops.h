// The vectorised loops of batch normalisation: one unit of pixels, or one block of channels, each.
// Rows of C channels at pixel pitch ldx / ldy; tables are one segment's row. Private to this
// folder.
#pragma once

#include <cstdint>

#include "kernels/base/dtype.h"
#include "kernels/base/segments.h"
#include "kernels/base/simd_dispatch.h"
#include "kernels/batch_norm/batch_norm.h"

namespace mono {

inline constexpr int kBatchNormChannelBlock = 64;  // of the loops over partial sums

// Where backward takes the ReLU's mask from.
enum class ReluMask { none, recompute, from_y };
inline ReluMask relu_mask(const BatchNormProblem& problem, bool have_y) {
  if (!problem.relu) return ReluMask::none;
  return have_y ? ReluMask::from_y : ReluMask::recompute;
}

// Throws unless extents, pitches and segments make sense.
void check_batch_norm(const char* operation, const BatchNormProblem& problem, Segments segments);

template <class T>
struct BatchNormRows {  // operands of a backward unit, at its first pixel
  int64_t pixels;
  int C;
  const T* dy;
  const T* x;
  const T* y;
  int64_t ldx, ldy;
  ReluMask mask;
  const Master<T>*scale, *shift, *mean;
};

// Three rows of C: origin, the mean of the unit's first pixels; sum (x - origin); sum (x -
// origin)^2. An origin near the mean is what keeps the sums free of cancellation.
inline constexpr int kOriginPixels = 8;
MONO_DECLARE_SIMD(template <class T> void batch_norm_moments_unit(int64_t pixels, int C, const T* x,
                                                                  int64_t ldx, Master<T>* origin))

// Merges a segment's units by Chan's rule, in order, for channels [0, channels) of the block that
// the pointers start at; the units' rows follow each other in `partial`, 3 * C each.
MONO_DECLARE_SIMD(template <class M>
                  void batch_norm_moments_merge(int64_t pixels, int64_t unit_pixels, int channels,
                                                const M* partial, int C, M* mean, M* variance))

MONO_DECLARE_SIMD(template <class T>
                  void batch_norm_apply_unit(int64_t pixels, int C, const T* x, int64_t ldx,
                                             const Master<T>* scale, const Master<T>* shift,
                                             const T* residual, T* y, int64_t ldy, bool relu))

// sum_dz = sum dz, sum_dzx = sum dz * (x - mean)
MONO_DECLARE_SIMD(template <class T> void batch_norm_sums_unit(const BatchNormRows<T>& rows,
                                                               Master<T>* sum_dz,
                                                               Master<T>* sum_dzx))

// dx = scale * dz + (b * (x - mean) + c), dresidual = dz; null b: dx = scale * dz.
MONO_DECLARE_SIMD(template <class T> void batch_norm_dx_unit(const BatchNormRows<T>& rows,
                                                             const Master<T>* b, const Master<T>* c,
                                                             T* dx, GradMode dx_mode, T* dresidual,
                                                             GradMode dresidual_mode))

}  // namespace mono
