// dino, barlow, byol and domain_centring on either device, and their definitions.
#pragma once

#include <cmath>

#include "kernels/barlow/barlow.h"
#include "kernels/byol/byol.h"
#include "kernels/dino/dino.h"
#include "kernels/domain_centring/domain_centring.h"
#include "tests/kernels/place.h"

namespace mono::test {

// Views learn from all teachers but their own; of one teacher, all do.
inline ViewPairs pairs_of(int teachers, int views) {
  ViewPairs pairs;
  pairs.teachers = teachers;
  pairs.views = views;
  for (int v = 0; v < views; ++v)
    for (int i = 0; i < teachers; ++i)
      if (teachers == 1 || v != i) pairs.add(i, v);
  return pairs;
}

template <class T>
struct LossResult {
  std::vector<Master<T>> losses;
  std::vector<T> dstudent, sum;  // sum: added to ones
};

// The teacher's tempered logits enter; their softmax is part of it.
template <class T>
LossResult<T> run_dino(bool gpu, int B, int K, const ViewPairs& pairs,
                       const std::vector<T>& student, const std::vector<Master<T>>& teacher,
                       double temperature, double scale, double weight) {
  using M = Master<T>;
  Place place(gpu);
  const int rows = pairs.views * B;
  const int64_t n = int64_t{rows} * K;
  M* const probabilities = place.put(teacher);  // in place
  softmax_rows<M>(place.stream(), pairs.teachers * B, K, probabilities, probabilities);
  DinoLoss<T> args;
  args.B = B;
  args.K = K;
  args.pairs = pairs;
  args.student = place.put(student);
  args.temperature = place.put(std::vector<double>{temperature});
  args.teacher = probabilities;
  args.scale = scale;
  M *const losses = place.room<M>(rows), *const softmax = place.room<M>(2 * rows);
  dino_forward<T>(place.stream(), args, losses, softmax);
  T* const dstudent = place.room<T>(n);
  T* const sum = place.put(std::vector<T>(n, T(M(1))));
  dino_backward<T>(place.stream(), args, softmax, weight, dstudent, GradMode::overwrite);
  dino_backward<T>(place.stream(), args, softmax, weight, sum, GradMode::accumulate);
  return {place.get(losses, rows), place.get(dstudent, n), place.get(sum, n)};
}

template <class M>
std::vector<M> softmax_of(int K, const std::vector<M>& x, double temperature) {
  std::vector<M> y;
  for (size_t r = 0; r < x.size() / K; ++r) {
    const M* row = x.data() + r * K;
    const M highest = *std::max_element(row, row + K);
    const M tau = static_cast<M>(temperature);
    M sum = 0;
    for (int k = 0; k < K; ++k) sum += std::exp((row[k] - highest) / tau);
    for (int k = 0; k < K; ++k) y.push_back(std::exp((row[k] - highest) / tau) / sum);
  }
  return y;
}

template <class T>
LossResult<T> define_dino(int B, int K, const ViewPairs& pairs, const std::vector<T>& student,
                          const std::vector<Master<T>>& teacher, double temperature, double scale,
                          double weight) {
  using M = Master<T>;
  const std::vector<M> p = softmax_of<M>(K, teacher, 1),
                       q = softmax_of<M>(K, convert_to<M>(student), temperature);
  LossResult<T> out;
  for (int r = 0; r < pairs.views * B; ++r) {
    std::vector<M> gradient(K);
    M loss = 0;
    for (int i = 0; i < pairs.teachers; ++i) {
      if (!pairs.has(i, r / B)) continue;
      const M* const target = p.data() + (i * B + r % B) * K;
      for (int k = 0; k < K; ++k) {
        loss -= target[k] * std::log(q[r * K + k]);
        gradient[k] += q[r * K + k] - target[k];
      }
    }
    out.losses.push_back(static_cast<M>(scale) * loss);
    for (const M g : gradient) {
      const M value = static_cast<M>(weight * scale / temperature) * g;
      out.dstudent.push_back(T(value));
      out.sum.push_back(T(1 + value));
    }
  }
  return out;
}

template <class T>
LossResult<T> run_byol(bool gpu, int B, int C, const std::vector<T>& p, const std::vector<T>& z,
                       double eps, double weight) {
  using M = Master<T>;
  Place place(gpu);
  const int64_t n = int64_t{2} * B * C;
  const ByolLoss<T> args{B, C, place.put(p), place.put(z), 1.5, eps};
  M* const losses = place.room<M>(2 * B);
  byol_forward<T>(place.stream(), args, losses);
  T* const dp = place.room<T>(n);
  T* const sum = place.put(std::vector<T>(n, T(M(1))));
  byol_backward<T>(place.stream(), args, weight, dp, GradMode::overwrite);
  byol_backward<T>(place.stream(), args, weight, sum, GradMode::accumulate);
  return {place.get(losses, 2 * B), place.get(dp, n), place.get(sum, n)};
}

template <class T>
LossResult<T> define_byol(int B, int C, const std::vector<T>& p, const std::vector<T>& z,
                          double weight) {
  using M = Master<T>;
  LossResult<T> out;
  for (int r = 0; r < 2 * B; ++r) {
    const T *a = p.data() + r * C, *b = z.data() + (r + B) % (2 * B) * C;
    M aa = 0, bb = 0, ab = 0;
    for (int c = 0; c < C; ++c) {
      aa += static_cast<M>(a[c]) * static_cast<M>(a[c]);
      bb += static_cast<M>(b[c]) * static_cast<M>(b[c]);
      ab += static_cast<M>(a[c]) * static_cast<M>(b[c]);
    }
    const M an = std::sqrt(aa), bn = std::sqrt(bb), cosine = ab / an / bn;
    out.losses.push_back(static_cast<M>(1.5) * (2 - 2 * cosine));
    for (int c = 0; c < C; ++c) {
      const M g = static_cast<M>(-2 * 1.5 * weight) / an *
                  (static_cast<M>(b[c]) / bn - cosine * static_cast<M>(a[c]) / an);
      out.dstudent.push_back(T(g));
      out.sum.push_back(T(1 + g));
    }
  }
  return out;
}

template <class T>
LossResult<T> run_barlow(bool gpu, BarlowVariant variant, const BarlowProblem& p,
                         const std::vector<T>& student, const std::vector<Master<T>>& teacher,
                         double temperature, double weight) {
  using M = Master<T>;
  Place place(gpu);
  const int groups = p.pairs.views * p.groups;
  const int64_t n = int64_t{p.pairs.views} * p.N() * p.K;
  BarlowForward<T> forward;
  forward.teacher = place.put(teacher);
  forward.student = place.put(student);
  // A temperature of 1 is given as null.
  forward.temperature = temperature == 1 ? nullptr : place.put(std::vector<double>{temperature});
  forward.losses = place.room<M>(p.pairs.views);
  forward.gradient = place.room<M>(n);
  forward.mean = place.room<M>(int64_t{groups} * p.K);
  forward.inverse_deviation = place.room<M>(int64_t{groups} * p.K);
  const size_t bytes = barlow_workspace_bytes(place.stream().device, variant, p, kDTypeOf<T>);
  barlow_forward<T>(place.stream(), variant, p, forward, place.scratch(bytes));
  BarlowBackward<T> backward;
  backward.student = forward.student;
  backward.temperature = forward.temperature;
  backward.gradient = forward.gradient;
  backward.mean = forward.mean;
  backward.inverse_deviation = forward.inverse_deviation;
  backward.weight = weight;
  T* const dstudent = backward.dstudent = place.room<T>(n);
  barlow_backward<T>(place.stream(), p, backward);
  T* const sum = backward.dstudent = place.put(std::vector<T>(n, T(M(1))));
  backward.mode = GradMode::accumulate;
  barlow_backward<T>(place.stream(), p, backward);
  return {place.get(forward.losses, p.pairs.views), place.get(dstudent, n), place.get(sum, n)};
}

// Batch norm of rows [first, first + B) of x / temperature; deviations as well.
template <class M>
void define_standardise(const BarlowProblem& p, std::vector<M>& x, double temperature,
                        std::vector<M>& deviations) {
  for (size_t group = 0; group < x.size() / (size_t(p.B) * p.K); ++group)
    for (int k = 0; k < p.K; ++k) {
      const auto at = [&](int b) -> M& { return x[(group * p.B + b) * p.K + k]; };
      M mean = 0, variance = 0;
      for (int b = 0; b < p.B; ++b) at(b) /= static_cast<M>(temperature);
      for (int b = 0; b < p.B; ++b) mean += at(b) / p.B;
      for (int b = 0; b < p.B; ++b) variance += (at(b) - mean) * (at(b) - mean) / p.B;
      const M deviation = std::sqrt(variance + static_cast<M>(p.eps));
      for (int b = 0; b < p.B; ++b) at(b) = (at(b) - mean) / deviation;
      deviations.push_back(deviation);
    }
}

template <class T>
LossResult<T> define_barlow(const BarlowProblem& p, const std::vector<T>& student,
                            const std::vector<Master<T>>& teacher, double temperature,
                            double weight) {
  using M = Master<T>;
  std::vector<M> zt = teacher, zs = convert_to<M>(student), unused, deviations;
  define_standardise<M>(p, zt, 1, unused);
  define_standardise<M>(p, zs, temperature, deviations);
  const int N = p.N(), K = p.K;
  const M unit = static_cast<M>(1 / (p.pairs.terms() * p.divisor));
  const M on = unit * static_cast<M>(p.diagonal) / K;
  const M off = unit * static_cast<M>(p.off_diagonal) / (M(K) * (K - 1));
  LossResult<T> out;
  std::vector<M> dz(zs.size(), 0);
  for (int v = 0; v < p.pairs.views; ++v) {
    M loss = 0;
    for (int i = 0; i < p.pairs.teachers; ++i) {
      if (!p.pairs.has(i, v)) continue;
      for (int j = 0; j < K; ++j)
        for (int k = 0; k < K; ++k) {
          M r = 0;
          for (int n = 0; n < N; ++n) r += zt[(i * N + n) * K + j] * zs[(v * N + n) * K + k];
          r /= N;
          loss += j == k ? on * (1 - r) * (1 - r) : off * r * r;
          const M slope = (j == k ? -2 * on * (1 - r) : 2 * off * r) / N;
          for (int n = 0; n < N; ++n) dz[(v * N + n) * K + k] += slope * zt[(i * N + n) * K + j];
        }
    }
    out.losses.push_back(p.pairs.views * loss);
  }
  out.dstudent.resize(zs.size());
  for (int group = 0; group < p.pairs.views * p.groups; ++group)
    for (int k = 0; k < K; ++k) {
      M mean = 0, along = 0;
      for (int b = 0; b < p.B; ++b) {
        const size_t at = size_t(group * p.B + b) * K + k;
        mean += dz[at] / p.B;
        along += dz[at] * zs[at] / p.B;
      }
      for (int b = 0; b < p.B; ++b) {
        const size_t at = size_t(group * p.B + b) * K + k;
        out.dstudent[at] = T(static_cast<M>(weight / temperature) / deviations[group * K + k] *
                             (dz[at] - mean - zs[at] * along));
      }
    }
  for (const T g : out.dstudent) out.sum.push_back(T(1 + static_cast<M>(g)));
  return out;
}

template <class T>
struct Centred {
  std::vector<Master<T>> y, centres;
};

template <class T>
Centred<T> run_centring(bool gpu, int rows, int K, int domains, const std::vector<T>& x,
                        const std::vector<int>& ids, const std::vector<double>& shares,
                        const std::vector<Master<T>>& centres) {
  using M = Master<T>;
  Place place(gpu);
  M* const c = place.put(centres);
  CentreRows<T> args;
  args.rows = rows;
  args.K = K;
  args.domains = domains;
  args.x = place.put(x);
  args.centres = c;
  args.domain_of_row = ids.empty() ? nullptr : place.put(ids);
  args.temperature = place.put(std::vector<double>{0.05});
  args.y = place.room<M>(int64_t{rows} * K);
  centre_rows<T>(place.stream(), args);
  CentreUpdate<T> update;
  update.rows = rows;
  update.K = K;
  update.domains = domains;
  update.x = args.x;
  update.domain_of_row = args.domain_of_row;
  update.shares = shares.empty() ? nullptr : place.put(shares);
  update.centres = c;
  update_centres<T>(place.stream(), update);
  return {place.get(args.y, int64_t{rows} * K), place.get(c, int64_t{domains} * K)};
}

}  // namespace mono::test
