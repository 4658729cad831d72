// l2_normalise and weight_norm on either device, and their definitions.
#pragma once

#include "kernels/l2_normalise/l2_normalise.h"
#include "kernels/weight_norm/weight_norm.h"
#include "tests/kernels/place.h"

namespace mono::test {

template <class T>
struct Normalised {
  std::vector<T> y, dx, dx_sum;  // dx_sum: added to ones
  std::vector<Master<T>> norms;
};

template <class T>
Normalised<T> run_l2_normalise(bool gpu, int rows, int C, double eps, const std::vector<T>& x,
                               const std::vector<T>& dy) {
  using M = Master<T>;
  Place place(gpu);
  const int64_t n = int64_t{rows} * C;
  T* const from = place.put(x);
  T* const y = place.room<T>(n);
  M* const norms = place.room<M>(rows);
  l2_normalise_forward<T>(place.stream(), rows, C, eps, from, y, norms);
  T* const dx = place.put(dy);  // in place
  T* const sum = place.put(std::vector<T>(n, T(M(1))));
  l2_normalise_backward<T>(place.stream(), rows, C, eps, from, norms, dx, sum,
                           GradMode::accumulate);
  l2_normalise_backward<T>(place.stream(), rows, C, eps, from, norms, dx, dx, GradMode::overwrite);
  return {place.get(y, n), place.get(dx, n), place.get(sum, n), place.get(norms, rows)};
}

// In plain M.
template <class T, class M = Master<T>>
Normalised<T> define_l2_normalise(int rows, int C, double eps, const std::vector<T>& x,
                                  const std::vector<T>& dy) {
  Normalised<T> out;
  for (int r = 0; r < rows; ++r) {
    const auto X = [&](int c) { return static_cast<M>(x[r * C + c]); };
    const auto G = [&](int c) { return static_cast<M>(dy[r * C + c]); };
    M squares = 0, product = 0;
    for (int c = 0; c < C; ++c) squares += X(c) * X(c);
    const M length = std::sqrt(squares), norm = std::max(length, static_cast<M>(eps));
    for (int c = 0; c < C; ++c) product += X(c) / norm * G(c);
    for (int c = 0; c < C; ++c) {
      const M g = (G(c) - (length > static_cast<M>(eps) ? X(c) / norm * product : M(0))) / norm;
      out.y.push_back(T(X(c) / norm));
      out.dx.push_back(T(g));
      out.dx_sum.push_back(T(1 + g));
    }
    out.norms.push_back(norm);
  }
  return out;
}

template <class M>
struct WeightNormed {
  std::vector<M> w, dv, dv_sum, dg, dg_sum;
};

template <class M>
WeightNormed<M> run_weight_norm(bool gpu, int rows, int C, const std::vector<M>& v,
                                const std::vector<M>& g, const std::vector<M>& dw) {
  Place place(gpu);
  const int64_t n = int64_t{rows} * C;
  M* const w = place.room<M>(n);
  M* const norms = place.room<M>(rows);
  WeightNormBackward<M> args{.v = place.put(v), .g = place.put(g), .norms = norms};
  weight_norm_forward<M>(place.stream(), rows, C, args.v, args.g, w, norms);
  args.dw = place.put(dw);
  M *const dv = place.room<M>(n), *const dg = place.room<M>(rows);
  M* const dv_sum = place.put(std::vector<M>(n, 1));
  M* const dg_sum = place.put(std::vector<M>(rows, 1));
  args.dv = dv;
  args.dg = dg;
  weight_norm_backward<M>(place.stream(), rows, C, args);
  args.dv = dv_sum;
  args.dg = dg_sum;
  args.dv_mode = GradMode::accumulate;
  args.dg_mode = GradMode::ignore;
  weight_norm_backward<M>(place.stream(), rows, C, args);
  args.dv = nullptr;
  args.dg_mode = GradMode::accumulate;
  weight_norm_backward<M>(place.stream(), rows, C, args);
  return {place.get(w, n), place.get(dv, n), place.get(dv_sum, n), place.get(dg, rows),
          place.get(dg_sum, rows)};
}

template <class M>
WeightNormed<M> define_weight_norm(int rows, int C, const std::vector<M>& v,
                                   const std::vector<M>& g, const std::vector<M>& dw) {
  WeightNormed<M> out;
  for (int r = 0; r < rows; ++r) {
    M squares = 0, product = 0;
    for (int c = 0; c < C; ++c) squares += v[r * C + c] * v[r * C + c];
    for (int c = 0; c < C; ++c) product += dw[r * C + c] * v[r * C + c];
    const M norm = std::sqrt(squares);
    for (int c = 0; c < C; ++c) {
      const M value = g[r] / norm * (dw[r * C + c] - v[r * C + c] * product / squares);
      out.w.push_back(g[r] * v[r * C + c] / norm);
      out.dv.push_back(value);
      out.dv_sum.push_back(1 + value);
    }
    out.dg.push_back(product / norm);
    out.dg_sum.push_back(1 + product / norm);
  }
  return out;
}

}  // namespace mono::test
