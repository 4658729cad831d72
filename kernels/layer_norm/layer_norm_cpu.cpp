// Layer normalisation on the CPU: units of rows in parallel, parameter gradients merged in unit
// order in double.
#include <algorithm>

#include "kernels/base/thread_pool.h"
#include "kernels/base/unit_sums.h"
#include "kernels/base/workspace.h"
#include "kernels/layer_norm/layer_norm_loops.h"

namespace mono {

void check_layer_norm(const char* operation, const LayerNormProblem& p) {
  MONO_CHECK(p.rows >= 1 && p.D >= 1 && p.eps >= 0, "{}: {} rows of {}, eps {}", operation, p.rows,
             p.D, p.eps);
}

namespace {

int64_t units_of(const LayerNormProblem& p) {
  return (p.rows + kLayerNormRows - 1) / kLayerNormRows;
}

// Calls f(unit, first row, rows) in parallel.
template <class F>
void for_units(const LayerNormProblem& p, F&& f) {
  parallel_for(units_of(p), [&](int64_t unit, int) {
    const int first = static_cast<int>(unit) * kLayerNormRows;
    f(unit, first, std::min(kLayerNormRows, p.rows - first));
  });
}

}  // namespace

template <class T>
void layer_norm_forward(const LayerNormProblem& p, const LayerNormForward<T>& args) {
  using M = Master<T>;
  check_layer_norm("layer_norm_forward", p);
  for_units(p, [&](int64_t, int first, int rows) {
    M local[2 * kLayerNormRows];
    M* const mean = args.mean ? args.mean + first : local;
    M* const inv_std = args.inv_std ? args.inv_std + first : local + kLayerNormRows;
    const int64_t at = int64_t{first} * p.D;
    MONO_SIMD(layer_norm_statistics_rows<T>(rows, p.D, p.eps, args.x + at, mean, inv_std));
    if (args.y)
      MONO_SIMD(layer_norm_apply_rows<T>(rows, p.D, args.x + at, mean, inv_std, args.gamma,
                                         args.beta, args.y + at, p.D));
  });
}

template <class T>
void layer_norm_apply(const LayerNormProblem& p, const LayerNormApply<T>& args) {
  check_layer_norm("layer_norm_apply", p);
  for_units(p, [&](int64_t, int first, int rows) {
    const int64_t at = int64_t{first} * p.D;
    MONO_SIMD(layer_norm_apply_rows<T>(rows, p.D, args.x + at, args.mean + first,
                                       args.inv_std + first, args.gamma, args.beta, args.y + at,
                                       p.D));
  });
}

template <class T>
void layer_norm_backward(const LayerNormProblem& p, const LayerNormBackward<T>& args,
                         std::span<std::byte> workspace) {
  using M = Master<T>;
  check_layer_norm("layer_norm_backward", p);
  const int64_t units = units_of(p);
  M* const partial = WorkspaceLayout("layer_norm_backward", workspace).take<M>(units * 2 * p.D);
  T* const dx = args.dx_mode == GradMode::ignore ? nullptr : args.dx;
  for_units(p, [&](int64_t unit, int first, int rows) {
    const int64_t at = int64_t{first} * p.D;
    M* const sums = partial + unit * 2 * p.D;
    std::fill_n(sums, 2 * p.D, M(0));
    MONO_SIMD(
        layer_norm_backward_rows<T, T>(rows, p.D, args.dy + at, p.D, args.x + at, args.mean + first,
                                       args.inv_std + first, args.gamma, dx ? dx + at : nullptr,
                                       args.dx_mode == GradMode::accumulate, sums, sums + p.D));
  });
  layer_norm_merge_units(p.D, units, partial, args.dgamma, args.dgamma_mode, args.dbeta,
                         args.dbeta_mode);
}

template <class M>
void layer_norm_merge_units(int D, int64_t units, const M* partial, M* dgamma, GradMode dgamma_mode,
                            M* dbeta, GradMode dbeta_mode) {
  for (const bool of_gamma : {true, false}) {
    M* const out = of_gamma ? dgamma : dbeta;
    const GradMode mode = of_gamma ? dgamma_mode : dbeta_mode;
    if (mode == GradMode::ignore) continue;
    add_units(D, units, partial + (of_gamma ? 0 : D), int64_t{2} * D, out, mode);
  }
}

size_t layer_norm_workspace_bytes(Device, const LayerNormProblem& p, DType dtype) {
  return dispatch_activation(dtype, [&]<class T>() {
    WorkspaceLayout layout;
    layout.take<Master<T>>(units_of(p) * 2 * p.D);
    return layout.used();
  });
}

LayerNormVariant layer_norm_choose(const LayerNormProblem& p, DType dtype) {
  return dtype != DType::f64 && p.D <= 1024 ? LayerNormVariant::warp_per_row
                                            : LayerNormVariant::naive;
}

#define MONO_INSTANTIATE(T)                                                               \
  template void layer_norm_forward(const LayerNormProblem&, const LayerNormForward<T>&);  \
  template void layer_norm_apply(const LayerNormProblem&, const LayerNormApply<T>&);      \
  template void layer_norm_backward(const LayerNormProblem&, const LayerNormBackward<T>&, \
                                    std::span<std::byte>);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void layer_norm_merge_units(int, int64_t, const float*, float*, GradMode, float*,
                                     GradMode);
template void layer_norm_merge_units(int, int64_t, const double*, double*, GradMode, double*,
                                     GradMode);

}  // namespace mono
