// What the files of this folder share: the entry points of each variant, the packed filter, and the
// merging of per-unit partial results. Not for callers.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/base/workspace.h"
#include "kernels/conv2d/conv2d.h"

namespace mono {

// The problem that reaches a variant has its pitches filled in and its arguments checked.
#define MONO_CONV_VARIANT(name)                                                            \
  size_t conv2d_##name##_workspace(ConvPass pass, const ConvProblem& problem, DType dtype, \
                                   int segments);                                          \
  template <class T>                                                                       \
  void conv2d_##name##_fprop(const ConvProblem& problem, const ConvFprop<T>& args,         \
                             std::span<std::byte> workspace);                              \
  template <class T, class GradT>                                                          \
  void conv2d_##name##_dgrad(const ConvProblem& problem, const ConvDgrad<T, GradT>& args,  \
                             std::span<std::byte> workspace);                              \
  template <class T>                                                                       \
  void conv2d_##name##_wgrad(const ConvProblem& problem, const ConvWgrad<T>& args,         \
                             std::span<std::byte> workspace);
MONO_CONV_VARIANT(reference)
#undef MONO_CONV_VARIANT

inline int segment_of(const Segments& segments, int image) {
  int s = 0;
  while (segments.end(s) <= image) ++s;
  return s;
}

// Moments of one unit's pixels; those of a segment are merged in unit order by Chan's rule.
struct MomentsUnits {
  double* mean = nullptr;  // (units, K)
  double* m2 = nullptr;    // (units, K)
  int K = 0;

  MomentsUnits() = default;
  MomentsUnits(Workspace& work, int64_t units, int channels)
      : mean(work.take<double>(units * channels)),
        m2(work.take<double>(units * channels)),
        K(channels) {}
};
// Writes row `segment` of `out` from units [begin, end), unit u having pixels(u) pixels.
// Clobbers the means and m2 of unit `begin`.
template <class T, class Pixels>
void merge_moments(const MomentsUnits& units, int64_t begin, int64_t end, Pixels&& pixels,
                   int segment, const MomentsOut<T>& out) {
  double* mean = units.mean + begin * units.K;
  double* m2 = units.m2 + begin * units.K;
  double count = static_cast<double>(pixels(begin));
  for (int64_t u = begin + 1; u < end; ++u) {
    const double n = static_cast<double>(pixels(u));
    const double weight = n / (count + n);
    const double* unit_mean = units.mean + u * units.K;
    const double* unit_m2 = units.m2 + u * units.K;
    for (int k = 0; k < units.K; ++k) {
      const double delta = unit_mean[k] - mean[k];
      mean[k] += delta * weight;
      m2[k] += unit_m2[k] + delta * delta * count * weight;
    }
    count += n;
  }
  for (int k = 0; k < units.K; ++k) {
    out.mean[int64_t{segment} * out.ld + k] = static_cast<Master<T>>(mean[k]);
    out.variance[int64_t{segment} * out.ld + k] = static_cast<Master<T>>(m2[k] / count);
  }
}

// The two sums of dgrad's epilogue per unit, added in unit order.
struct SumUnits {
  double* dz = nullptr;   // (units, C)
  double* dzx = nullptr;  // (units, C)
  int C = 0;

  SumUnits() = default;
  SumUnits(Workspace& work, int64_t units, int channels)
      : dz(work.take<double>(units * channels)),
        dzx(work.take<double>(units * channels)),
        C(channels) {}
};
template <class M>
void add_units(const double* units, int C, int64_t begin, int64_t end, M* out) {
  if (!out) return;
  for (int c = 0; c < C; ++c) {
    double sum = 0;
    for (int64_t u = begin; u < end; ++u) sum += units[u * C + c];
    out[c] = static_cast<M>(sum);
  }
}

}  // namespace mono
