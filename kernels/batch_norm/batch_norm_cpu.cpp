// Batch normalisation on the CPU: units of pixels in parallel, their sums merged in unit order.
#include <algorithm>
#include <cmath>

#include "kernels/base/pixel_units.h"
#include "kernels/base/thread_pool.h"
#include "kernels/base/workspace.h"
#include "kernels/batch_norm/batch_norm.h"
#include "kernels/batch_norm/batch_norm_fold.h"
#include "kernels/batch_norm/batch_norm_loops.h"

namespace mono {
namespace {

int64_t pitch_x(const BatchNormProblem& p) {
  return p.ldx ? p.ldx : p.C;
}
int64_t pitch_y(const BatchNormProblem& p) {
  return p.ldy ? p.ldy : p.C;
}

PixelUnits units_of(const char* operation, const BatchNormProblem& p, Segments segments) {
  check_batch_norm(operation, p, segments);
  return {segments, int64_t{p.H} * p.W, p.C};
}

// Calls f(first channel, channels) for blocks of channels, in parallel.
template <class F>
void for_channel_blocks(int C, F&& f) {
  constexpr int kBlock = kBatchNormChannelBlock;
  parallel_for((C + kBlock - 1) / kBlock, [&](int64_t block, int) {
    const int first = static_cast<int>(block) * kBlock;
    f(first, std::min(kBlock, C - first));
  });
}

template <class M>
struct BackwardTables {  // of the workspace
  M *scale, *shift, *b, *c, *partial;

  BackwardTables(WorkspaceLayout& workspace, int segments, int C, int64_t units) {
    const int64_t table = int64_t{segments} * C;
    scale = workspace.take<M>(table);
    shift = workspace.take<M>(table);
    b = workspace.take<M>(table);
    c = workspace.take<M>(table);
    partial = workspace.take<M>(units * 2 * C);
  }
};

// Adds the units' sums in order, segment by segment: the coefficients b and c of dx, and the
// parameter gradients.
template <class T>
void finish_sums(const BatchNormProblem& p, const BatchNormBackward<T>& args,
                 const PixelUnits& units, const BackwardTables<Master<T>>& tables) {
  using M = Master<T>;
  const int C = p.C;
  const int64_t ld = args.ld ? args.ld : C;
  for_channel_blocks(C, [&](int first, int channels) {
    double dgamma[kBatchNormChannelBlock] = {}, dbeta[kBatchNormChannelBlock] = {};
    const M* partial = tables.partial + first;
    for (int s = 0; s < args.segments.count; ++s) {
      double sum_dz[kBatchNormChannelBlock] = {}, sum_dzx[kBatchNormChannelBlock] = {};
      for (int64_t unit = units.units_of(s); unit > 0; --unit, partial += 2 * C)
        for (int c = 0; c < channels; ++c) {
          sum_dz[c] += partial[c];
          sum_dzx[c] += partial[C + c];
        }
      const double pixels = units.pixels_of(s);
      for (int c = 0; c < channels; ++c) {
        const int64_t at = int64_t{s} * C + first + c;
        const double variance = args.variance[s * ld + first + c];
        const double inverse_sigma = 1.0 / std::sqrt(variance + p.eps);
        const double dz_xhat = sum_dzx[c] * inverse_sigma;
        dbeta[c] += sum_dz[c];
        dgamma[c] += dz_xhat;
        tables.b[at] = static_cast<M>(-tables.scale[at] * dz_xhat * inverse_sigma / pixels);
        tables.c[at] = static_cast<M>(-tables.scale[at] * sum_dz[c] / pixels);
      }
    }
    const auto write = [&](const double* sum, M* gradient) {
      if (!gradient || args.parameter_mode == GradMode::ignore) return;
      const bool add = args.parameter_mode == GradMode::accumulate;
      for (int c = 0; c < channels; ++c)
        gradient[first + c] = static_cast<M>(sum[c] + (add ? gradient[first + c] : M(0)));
    };
    write(dgamma, args.dgamma);
    write(dbeta, args.dbeta);
  });
}

}  // namespace

void check_batch_norm(const char* operation, const BatchNormProblem& p, Segments segments) {
  MONO_CHECK(p.N >= 1 && p.H >= 1 && p.W >= 1 && p.C >= 1 && pitch_x(p) >= p.C && pitch_y(p) >= p.C,
             "{}: {}", operation, p.to_string());
  check_segments(operation, segments, p.N);
}

double BatchNormProblem::bytes(DType dtype) const {
  return 2.0 * N * H * W * C * static_cast<double>(size_of(dtype));
}

std::string BatchNormProblem::to_string() const {
  return fmt::format("n{} h{}w{} c{} ldx{} ldy{}{}{}", N, H, W, C, ldx ? ldx : C, ldy ? ldy : C,
                     relu ? " relu" : "", batch_statistics ? "" : " given statistics");
}

size_t batch_norm_workspace_bytes(const BatchNormProblem& problem, DType dtype, int segments) {
  const int64_t pixels = int64_t{problem.N} * problem.H * problem.W;
  const int64_t units = PixelUnits::most(pixels, problem.C, segments);
  WorkspaceLayout moments, backward;
  if (dtype == DType::f64) {
    moments.take<double>(units * 3 * problem.C);
    BackwardTables<double>(backward, segments, problem.C, units);
  } else {
    moments.take<float>(units * 3 * problem.C);
    BackwardTables<float>(backward, segments, problem.C, units);
  }
  return std::max(moments.used(), backward.used());
}

template <class T>
void batch_norm_moments(const BatchNormProblem& problem, const T* x, Segments segments,
                        Master<T>* mean, Master<T>* variance, int ld,
                        std::span<std::byte> workspace) {
  using M = Master<T>;
  const PixelUnits units = units_of("batch_norm_moments", problem, segments);
  const int C = problem.C;
  const int64_t ldx = pitch_x(problem), row = ld ? ld : C;
  M* partial = WorkspaceLayout("batch_norm_moments", workspace).take<M>(units.count() * 3 * C);
  parallel_for(units.count(), [&](int64_t index, int) {
    const PixelUnit unit = units.at(index);
    MONO_SIMD(batch_norm_moments_unit<T>(unit.end - unit.begin, C, x + unit.begin * ldx, ldx,
                                         partial + index * 3 * C));
  });
  for_channel_blocks(C, [&](int first, int channels) {
    for (int s = 0; s < segments.count; ++s)
      MONO_SIMD(batch_norm_moments_merge<M>(units.pixels_of(s), units.unit_pixels(s), channels,
                                            partial + units.first_unit(s) * 3 * C + first, C,
                                            mean + s * row + first, variance + s * row + first));
  });
}

template <class M>
void batch_norm_fold(int segments, int C, double eps, const M* gamma, const M* beta, const M* mean,
                     const M* variance, int ld, M* scale, M* shift) {
  const int64_t row = ld ? ld : C;
  for (int s = 0; s < segments; ++s)
    for (int c = 0; c < C; ++c) {
      const ScaleShift<M> folded =
          batch_norm_fold_one(gamma[c], beta[c], mean[s * row + c], variance[s * row + c], eps);
      scale[int64_t{s} * C + c] = folded.scale;
      shift[int64_t{s} * C + c] = folded.shift;
    }
}

template <class T>
void batch_norm_apply(const BatchNormProblem& problem, const T* x, Segments segments,
                      const Master<T>* scale, const Master<T>* shift, const T* residual, T* y) {
  const PixelUnits units = units_of("batch_norm_apply", problem, segments);
  const int C = problem.C;
  const int64_t ldx = pitch_x(problem), ldy = pitch_y(problem);
  parallel_for(units.count(), [&](int64_t index, int) {
    const PixelUnit unit = units.at(index);
    const int64_t table = int64_t{unit.segment} * C;
    MONO_SIMD(batch_norm_apply_unit<T>(
        unit.end - unit.begin, C, x + unit.begin * ldx, ldx, scale + table, shift + table,
        residual ? residual + unit.begin * ldy : nullptr, y + unit.begin * ldy, ldy, problem.relu));
  });
}

template <class T>
void batch_norm_backward(const BatchNormProblem& problem, const BatchNormBackward<T>& args,
                         std::span<std::byte> workspace) {
  const PixelUnits units = units_of("batch_norm_backward", problem, args.segments);
  const int C = problem.C;
  const int64_t ldx = pitch_x(problem), ldy = pitch_y(problem);
  WorkspaceLayout memory("batch_norm_backward", workspace);
  const BackwardTables<Master<T>> tables(memory, args.segments.count, C, units.count());
  batch_norm_fold(args.segments.count, C, problem.eps, args.gamma, args.beta, args.mean,
                  args.variance, args.ld, tables.scale, tables.shift);

  const auto rows = [&](const PixelUnit& unit) {
    const int64_t table = int64_t{unit.segment} * C;
    return BatchNormRows<T>{
        .pixels = unit.end - unit.begin,
        .C = C,
        .dy = args.dy + unit.begin * ldy,
        .x = args.x + unit.begin * ldx,
        .y = (args.y ? args.y : args.dy) + unit.begin * ldy,  // read for ReluMask::from_y only
        .ldx = ldx,
        .ldy = ldy,
        .mask = relu_mask(problem, args.y != nullptr),
        .scale = tables.scale + table,
        .shift = tables.shift + table,
        .mean = args.mean + int64_t{unit.segment} * (args.ld ? args.ld : C)};
  };
  const bool parameters = args.parameter_mode != GradMode::ignore && (args.dgamma || args.dbeta);
  if (problem.batch_statistics || parameters) {
    parallel_for(units.count(), [&](int64_t index, int) {
      auto* sums = tables.partial + index * 2 * C;
      MONO_SIMD(batch_norm_sums_unit<T>(rows(units.at(index)), sums, sums + C));
    });
    finish_sums(problem, args, units, tables);
  }
  const GradMode dx_mode = args.dx ? args.dx_mode : GradMode::ignore;
  const GradMode dresidual_mode = args.dresidual ? args.dresidual_mode : GradMode::ignore;
  if (dx_mode == GradMode::ignore && dresidual_mode == GradMode::ignore) return;
  parallel_for(units.count(), [&](int64_t index, int) {
    const PixelUnit unit = units.at(index);
    const int64_t table = int64_t{unit.segment} * C;
    MONO_SIMD(batch_norm_dx_unit<T>(
        rows(unit), problem.batch_statistics ? tables.b + table : nullptr, tables.c + table,
        args.dx ? args.dx + unit.begin * ldx : nullptr, dx_mode,
        args.dresidual ? args.dresidual + unit.begin * ldy : nullptr, dresidual_mode));
  });
}

template <class M>
void batch_norm_update_running(const BatchNormRunning<M>& args) {
  constexpr int64_t kUnit = 1024;  // columns
  parallel_for((args.columns + kUnit - 1) / kUnit, [&](int64_t unit, int) {
    for (int64_t c = unit * kUnit; c < std::min((unit + 1) * kUnit, args.columns); ++c) {
      double m = 0, v = 0;
      for (int row = 0; row < args.rows; ++row) {
        const double n = args.counts[int64_t{row} * args.layers + args.layer_of_column[c]];
        m += static_cast<double>(args.mean[row * args.columns + c]);
        v += static_cast<double>(args.variance[row * args.columns + c]) * (n / (n - 1));
      }
      const auto update = [&](M& running, double mean) {
        running = static_cast<M>((1 - args.momentum) * static_cast<double>(running) +
                                 args.momentum * mean);
      };
      update(args.running_mean[c], m / args.rows);
      update(args.running_variance[c], v / args.rows);
    }
  });
}

template void batch_norm_update_running(const BatchNormRunning<float>&);
template void batch_norm_update_running(const BatchNormRunning<double>&);
template void batch_norm_fold(int, int, double, const float*, const float*, const float*,
                              const float*, int, float*, float*);
template void batch_norm_fold(int, int, double, const double*, const double*, const double*,
                              const double*, int, double*, double*);
#define MONO_INSTANTIATE(T)                                                                     \
  template void batch_norm_moments(const BatchNormProblem&, const T*, Segments, Master<T>*,     \
                                   Master<T>*, int, std::span<std::byte>);                      \
  template void batch_norm_apply(const BatchNormProblem&, const T*, Segments, const Master<T>*, \
                                 const Master<T>*, const T*, T*);                               \
  template void batch_norm_backward(const BatchNormProblem&, const BatchNormBackward<T>&,       \
                                    std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)

}  // namespace mono
