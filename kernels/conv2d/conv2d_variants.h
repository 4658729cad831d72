// What the files of this folder share: the entry points of each variant, the packed filter, and the
// merging of per-unit partial results. Not for callers.
#pragma once

#include <algorithm>
#include <cstddef>
#include <span>

#include "kernels/base/workspace.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d/conv2d_rows.h"

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
MONO_CONV_VARIANT(onednn)  // f32 and bf16
#undef MONO_CONV_VARIANT

// Whether oneDNN has a quick implementation for the problem.
bool conv2d_onednn_supports(ConvPass pass, const ConvProblem& problem, DType dtype);

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
  MomentsUnits(WorkspaceLayout& work, int64_t units, int channels)
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
  SumUnits(WorkspaceLayout& work, int64_t units, int channels)
      : dz(work.take<double>(units * channels)),
        dzx(work.take<double>(units * channels)),
        C(channels) {}
};

// The gradient tables of one segment, as row arguments.
template <class T, class GradT, class Z>
GradientRows<T, GradT, Z> gradient_of(const ConvProblem& p, const ConvDgrad<T, GradT>& args,
                                      int64_t pixel, int segment, Z* g) {
  const auto row = [&](const Master<T>* table) {
    return table ? table + int64_t{segment} * p.K : nullptr;
  };
  return {.dy = args.dy + pixel * args.lddy,
          .lddy = args.lddy,
          .y = args.b ? args.y + pixel * p.ldy : nullptr,
          .ldy = args.b ? p.ldy : 0,
          .a = row(args.a),
          .b = row(args.b),
          .c = row(args.c),
          .g = g,
          .ldg = p.K,
          .K = p.K};
}

// dgrad's epilogue on `pixels` rows from `pixel` on: dz (pitch lddz) to dx and to the unit's sums.
template <class T, class GradT>
void store_input_gradient(const ConvProblem& p, const ConvDgrad<T, GradT>& args,
                          const SumUnits& sums, int64_t unit, int segment, int64_t pixel,
                          int64_t pixels, const Master<T>* dz, int64_t lddz) {
  const bool masked = args.mask.scale != nullptr;
  const int64_t table = int64_t{segment} * p.C;
  double* sum_dz = args.sum_dz ? sums.dz + unit * p.C : nullptr;
  double* sum_dzx = args.sum_dzx ? sums.dzx + unit * p.C : nullptr;
  if (sum_dz) std::fill_n(sum_dz, p.C, 0.0);
  if (sum_dzx) std::fill_n(sum_dzx, p.C, 0.0);
  input_gradient_rows<T, GradT>(
      {.dz = dz,
       .lddz = lddz,
       .x = masked ? args.x + pixel * p.ldx : nullptr,
       .ldx = p.ldx,
       .scale = masked ? args.mask.scale + table : nullptr,
       .shift = masked ? args.mask.shift + table : nullptr,
       .mean = sum_dzx ? args.mean + int64_t{segment} * args.mean_ld : nullptr,
       .multiply = args.multiply ? args.multiply + table : nullptr,
       .dx = args.mode == GradMode::ignore ? nullptr : args.dx + pixel * args.lddx,
       .lddx = args.lddx,
       .accumulate = args.mode == GradMode::accumulate,
       .C = p.C,
       .sum_dz = sum_dz,
       .sum_dzx = sum_dzx},
      pixels);
}

// Adds up the units of each segment, in unit order; first_unit(s) for s in [0, segments].
template <class T, class GradT, class FirstUnit>
void merge_sums(const ConvDgrad<T, GradT>& args, const SumUnits& sums, FirstUnit&& first_unit) {
  const auto add = [&](const double* units, Master<T>* out) {
    if (!out) return;
    for (int s = 0; s < args.segments.count; ++s)
      for (int c = 0; c < sums.C; ++c) {
        double sum = 0;
        for (int64_t u = first_unit(s); u < first_unit(s + 1); ++u) sum += units[u * sums.C + c];
        out[int64_t{s} * sums.C + c] = static_cast<Master<T>>(sum);
      }
  };
  add(sums.dz, args.sum_dz);
  add(sums.dzx, args.sum_dzx);
}

}  // namespace mono
