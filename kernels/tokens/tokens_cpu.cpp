#include "kernels/tokens/tokens_cpu.h"

#include <vector>

#include "kernels/base/thread_pool.h"

namespace mono::cpu {

void position_weights(const PositionAxis& axis, double* weights) {
  for (int i = 0; i < axis.size; ++i)
    for (int j = 0; j < axis.grid; ++j) weights[i * axis.grid + j] = position_weight(axis, i, j);
}

template <class M>
void weighted_rows(const WeightedRows& p, const M* in, M* out, GradMode mode) {
  if (mode == GradMode::ignore) return;
  parallel_for(int64_t{p.batch} * p.rows, [&](int64_t unit, int) {
    const int64_t b = unit / p.rows, r = unit % p.rows;
    const M* const from = in + b * p.terms * p.columns;
    M* const to = out + unit * p.columns;
    constexpr int kBlock = 512;
    double sums[kBlock];
    for (int c0 = 0; c0 < p.columns; c0 += kBlock) {
      const int count = std::min(kBlock, p.columns - c0);
      for (int c = 0; c < count; ++c)
        sums[c] = mode == GradMode::accumulate ? static_cast<double>(to[c0 + c]) : 0.0;
      for (int t = 0; t < p.terms; ++t) {
        const double weight = p.weights[r * p.row_step + t * p.term_step];
        if (weight == 0) continue;
        const M* const term = from + int64_t{t} * p.columns + c0;
        for (int c = 0; c < count; ++c) sums[c] += weight * static_cast<double>(term[c]);
      }
      for (int c = 0; c < count; ++c) to[c0 + c] = static_cast<M>(sums[c]);
    }
  });
}

template <class T>
void add_positions(const TokensProblem& p, const TokensForward<T>& args,
                   const Master<T>* positions) {
  using M = Master<T>;
  parallel_for(int64_t{p.N} * p.tokens(), [&](int64_t row, int) {
    const int64_t n = row / p.tokens(), t = row % p.tokens();
    T* const y = args.y + row * p.D;
    if (t == 0) {
      for (int c = 0; c < p.D; ++c) y[c] = T(args.cls[c] + args.pos[c]);
      return;
    }
    const T* const x = args.patches + (n * p.patches() + t - 1) * p.D;
    const M* const position = positions + (t - 1) * p.D;
    for (int c = 0; c < p.D; ++c) {
      M value = static_cast<M>(x[c]);
      if (args.bias) value += args.bias[c];
      y[c] = T(value + position[c]);
    }
  });
}

template <class T>
void token_sums(const TokensProblem& p, const T* dy, Master<T>* sums) {
  using M = Master<T>;
  parallel_for(p.tokens(), [&](int64_t t, int) {
    for (int c = 0; c < p.D; ++c) {
      double sum = 0;
      for (int64_t n = 0; n < p.N; ++n)
        sum += static_cast<double>(static_cast<M>(dy[(n * p.tokens() + t) * p.D + c]));
      sums[t * p.D + c] = static_cast<M>(sum);
    }
  });
}

#define MONO_INSTANTIATE(T)                                                                     \
  template void add_positions(const TokensProblem&, const TokensForward<T>&, const Master<T>*); \
  template void token_sums(const TokensProblem&, const T*, Master<T>*);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
template void weighted_rows(const WeightedRows&, const float*, float*, GradMode);
template void weighted_rows(const WeightedRows&, const double*, double*, GradMode);

}  // namespace mono::cpu
