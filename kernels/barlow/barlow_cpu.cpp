// The Barlow loss on the CPU: tiles of columns of a view, sums over rows in double and in order.
#include <algorithm>
#include <cmath>

#include "kernels/barlow/barlow_steps.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

constexpr int kTile = 128;

// f(group, first column, width) for every tile of every group.
template <class F>
void for_tiles(int groups, int K, F&& f) {
  const int tiles = (K + kTile - 1) / kTile;
  parallel_for(int64_t{groups} * tiles, [&](int64_t unit, int) {
    const int first = static_cast<int>(unit % tiles) * kTile;
    f(unit / tiles, first, std::min(kTile, K - first));
  });
}

}  // namespace

template <class T>
void barlow_standardise(int groups, int B, int K, double eps, const T* x, const double* temperature,
                        Master<T>* z, Master<T>* mean, Master<T>* inverse_deviation) {
  using M = Master<T>;
  const M inverse = static_cast<M>(temperature ? 1 / *temperature : 1.0);
  for_tiles(groups, K, [&](int64_t group, int first, int width) {
    const int64_t from = group * B * K + first;
    double sums[kTile] = {}, squares[kTile] = {};
    M centre[kTile], scale[kTile];
    for (int64_t b = 0; b < B; ++b)
      for (int k = 0; k < width; ++k)
        sums[k] += static_cast<double>(static_cast<M>(x[from + b * K + k]) * inverse);
    for (int k = 0; k < width; ++k) centre[k] = static_cast<M>(sums[k] / B);
    for (int64_t b = 0; b < B; ++b)
      for (int k = 0; k < width; ++k) {
        const double d =
            static_cast<double>(static_cast<M>(x[from + b * K + k]) * inverse) - sums[k] / B;
        squares[k] += d * d;
      }
    for (int k = 0; k < width; ++k) scale[k] = static_cast<M>(1 / std::sqrt(squares[k] / B + eps));
    for (int64_t b = 0; b < B; ++b)
      for (int k = 0; k < width; ++k)
        z[from + b * K + k] =
            (static_cast<M>(x[from + b * K + k]) * inverse - centre[k]) * scale[k];
    if (mean) std::copy_n(centre, width, mean + group * K + first);
    if (inverse_deviation) std::copy_n(scale, width, inverse_deviation + group * K + first);
  });
}

template <class M>
void barlow_add_grams(int N, const ViewPairs& pairs, const M* grams, M* sums) {
  const int64_t square = int64_t{N} * N;
  for (int v = 0; v < pairs.views; ++v)
    for (int64_t i = 0; i < square; ++i) {
      M sum = 0;
      for (int t = 0; t < pairs.teachers; ++t)
        if (pairs.has(t, v)) sum += grams[t * square + i];
      sums[v * square + i] = sum;
    }
}

template <class M>
void barlow_gram_columns(const BarlowProblem& p, const M* teacher, const M* student, M* gradient,
                         double* parts) {
  const BarlowWeights weights(p);
  const int64_t N = p.N(), matrix = N * p.K;
  for_tiles(p.pairs.views, p.K, [&](int64_t view, int first, int width) {
    const M* const z = student + view * matrix + first;
    M* const g = gradient + view * matrix + first;
    double h[kTile] = {};
    for (int64_t n = 0; n < N; ++n)
      for (int k = 0; k < width; ++k) h[k] += double{g[n * p.K + k]} * double{z[n * p.K + k]};
    const double of_h = weights.off_diagonal / (double(N) * double(N));
    for (int k = 0; k < width; ++k) h[k] *= of_h;
    M slopes[ViewPairs::kMostTeachers][kTile] = {};
    for (int t = 0; t < p.pairs.teachers; ++t) {
      if (!p.pairs.has(t, static_cast<int>(view))) continue;
      const M* const other = teacher + t * matrix + first;
      double r[kTile] = {};
      for (int64_t n = 0; n < N; ++n)
        for (int k = 0; k < width; ++k) r[k] += double{other[n * p.K + k]} * double{z[n * p.K + k]};
      for (int k = 0; k < width; ++k) {
        const double correlation = r[k] / double(N);
        h[k] += weights.correction(correlation);
        slopes[t][k] = static_cast<M>(weights.correction_slope(correlation) / double(N));
      }
    }
    const M scale = static_cast<M>(2 * of_h);
    for (int64_t n = 0; n < N; ++n)
      for (int k = 0; k < width; ++k) {
        M value = scale * g[n * p.K + k];
        for (int t = 0; t < p.pairs.teachers; ++t)
          value += slopes[t][k] * teacher[t * matrix + n * p.K + first + k];
        g[n * p.K + k] = value;
      }
    std::copy_n(h, width, parts + view * p.K + first);
  });
}

template <class M>
void barlow_direct_rows(const BarlowProblem& p, M* r, double* parts) {
  const BarlowWeights weights(p);
  const double N = p.N();
  parallel_for(p.K, [&](int64_t j, int) {
    double part = 0;
    for (int k = 0; k < p.K; ++k) {
      M& element = r[j * p.K + k];
      const double correlation = double{element} / N;
      part += j == k ? weights.diagonal * (1 - correlation) * (1 - correlation)
                     : weights.off_diagonal * correlation * correlation;
      element = static_cast<M>(
          (j == k ? weights.slope(correlation) : 2 * weights.off_diagonal * correlation) / N);
    }
    parts[j] = part;
  });
}

template <class M>
void barlow_add_parts(int views, int count, const double* parts, double scale, M* losses) {
  for (int v = 0; v < views; ++v) {
    double sum = 0;
    for (int i = 0; i < count; ++i) sum += parts[int64_t{v} * count + i];
    losses[v] = static_cast<M>(scale * sum);
  }
}

template <class T>
void barlow_backward(const BarlowProblem& p, const BarlowBackward<T>& args) {
  using M = Master<T>;
  if (args.mode == GradMode::ignore) return;
  const double temperature = args.temperature ? *args.temperature : 1.0;
  const M inverse = static_cast<M>(1 / temperature);
  for_tiles(p.pairs.views * p.groups, p.K, [&](int64_t group, int first, int width) {
    const int64_t from = group * p.B * p.K + first;
    const M* const mean = args.mean + group * p.K + first;
    const M* const scale = args.inverse_deviation + group * p.K + first;
    const auto standardised = [&](int64_t at, int k) {
      return (static_cast<M>(args.student[at]) * inverse - mean[k]) * scale[k];
    };
    double sums[kTile] = {}, products[kTile] = {};
    for (int64_t b = 0; b < p.B; ++b)
      for (int k = 0; k < width; ++k) {
        const int64_t at = from + b * p.K + k;
        sums[k] += double{args.gradient[at]};
        products[k] += double{args.gradient[at]} * double{standardised(at, k)};
      }
    M means[kTile], along[kTile], factor[kTile];
    for (int k = 0; k < width; ++k) {
      means[k] = static_cast<M>(sums[k] / p.B);
      along[k] = static_cast<M>(products[k] / p.B);
      factor[k] = static_cast<M>(args.weight / temperature * double{scale[k]});
    }
    for (int64_t b = 0; b < p.B; ++b)
      for (int k = 0; k < width; ++k) {
        const int64_t at = from + b * p.K + k;
        const M g = factor[k] * (args.gradient[at] - means[k] - standardised(at, k) * along[k]);
        T& to = args.dstudent[at];
        to = T(args.mode == GradMode::accumulate ? static_cast<M>(to) + g : g);
      }
  });
}

#define MONO_INSTANTIATE(T)                                                                    \
  template void barlow_standardise(int, int, int, double, const T*, const double*, Master<T>*, \
                                   Master<T>*, Master<T>*);                                    \
  template void barlow_backward(const BarlowProblem&, const BarlowBackward<T>&);
MONO_INSTANTIATE(float)
MONO_INSTANTIATE(bf16)
MONO_INSTANTIATE(double)
#define MONO_INSTANTIATE_MASTER(M)                                                          \
  template void barlow_add_grams(int, const ViewPairs&, const M*, M*);                      \
  template void barlow_gram_columns(const BarlowProblem&, const M*, const M*, M*, double*); \
  template void barlow_direct_rows(const BarlowProblem&, M*, double*);                      \
  template void barlow_add_parts(int, int, const double*, double, M*);
MONO_INSTANTIATE_MASTER(float)
MONO_INSTANTIATE_MASTER(double)

}  // namespace mono
