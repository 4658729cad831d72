// Layer normalisations to test, shared by layer_norm_test.cpp and layer_norm_gpu_test.cpp.
#pragma once

#include <vector>

#include "kernels/layer_norm/layer_norm.h"
#include "tests/kernels/op_test.h"

namespace mono::test {

inline const LayerNormProblem kLayerNormCases[] = {
    {1, 1},     {7, 31},  {33, 33},  {65, 24},  {64, 128},
    {130, 200}, {9, 384}, {3, 1001}, {2, 1024}, {3, 1100},
};

// Operands of a case, the same numbers in every type.
template <class T>
struct LayerNormOperands {
  using M = Master<T>;
  std::vector<T> x, dy, dx;
  std::vector<M> gamma, beta, dgamma, dbeta;

  explicit LayerNormOperands(const LayerNormProblem& p, double mean = 0.5) {
    const auto values = [](int64_t n, uint32_t stream, double center, double deviation) {
      return convert_to<double>(normal_values<bf16>(n, stream, center, deviation));
    };
    const int64_t size = int64_t{p.rows} * p.D;
    x = convert_to<T>(values(size, 1, mean, 1.5));
    dy = convert_to<T>(values(size, 2, 0, 1));
    dx = convert_to<T>(values(size, 3, 0, 1));
    gamma = convert_to<M>(values(p.D, 4, 1, 0.25));
    beta = convert_to<M>(values(p.D, 5, 0, 0.25));
    dgamma = convert_to<M>(values(p.D, 6, 0, 1));
    dbeta = convert_to<M>(values(p.D, 7, 0, 1));
  }
};

// The definition, computed in type C from the values of T.
template <class T, class C>
struct LayerNormDefinition {
  std::vector<double> y, dx, mean, inv_std, dgamma, dbeta;

  LayerNormDefinition(const LayerNormProblem& p, const LayerNormOperands<T>& o) {
    const size_t D = static_cast<size_t>(p.D);
    std::vector<C> sum_gamma(D, C(0)), sum_beta(D, C(0));
    for (int r = 0; r < p.rows; ++r) {
      const size_t at = static_cast<size_t>(r) * D;
      const auto x = [&](size_t c) { return static_cast<C>(to_double(o.x[at + c])); };
      const auto d = [&](size_t c) { return static_cast<C>(to_double(o.dy[at + c])); };
      C sum = 0, squares = 0, sum_g = 0, sum_gx = 0;
      for (size_t c = 0; c < D; ++c) sum += x(c);
      const C m = sum / static_cast<C>(p.D);
      for (size_t c = 0; c < D; ++c) squares += (x(c) - m) * (x(c) - m);
      const C inverse = C(1) / std::sqrt(squares / static_cast<C>(p.D) + static_cast<C>(p.eps));
      for (size_t c = 0; c < D; ++c) {
        const C xhat = (x(c) - m) * inverse, g = d(c) * static_cast<C>(o.gamma[c]);
        y.push_back(
            static_cast<double>(xhat * static_cast<C>(o.gamma[c]) + static_cast<C>(o.beta[c])));
        sum_g += g;
        sum_gx += g * xhat;
        sum_gamma[c] += d(c) * xhat;
        sum_beta[c] += d(c);
      }
      for (size_t c = 0; c < D; ++c) {
        const C xhat = (x(c) - m) * inverse, g = d(c) * static_cast<C>(o.gamma[c]);
        dx.push_back(static_cast<double>(
            inverse * (g - sum_g / static_cast<C>(p.D) - xhat * sum_gx / static_cast<C>(p.D))));
      }
      mean.push_back(static_cast<double>(m));
      inv_std.push_back(static_cast<double>(inverse));
    }
    for (const C v : sum_gamma) dgamma.push_back(static_cast<double>(v));
    for (const C v : sum_beta) dbeta.push_back(static_cast<double>(v));
  }
};

template <class V, class T>
std::vector<double> plus(std::vector<V> values, const std::vector<T>& before) {
  for (size_t i = 0; i < values.size(); ++i) values[i] += to_double(before[i]);
  return values;
}

}  // namespace mono::test
