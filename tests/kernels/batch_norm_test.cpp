#include "kernels/batch_norm/batch_norm.h"

#include <algorithm>

#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

struct Case {
  BatchNormProblem problem;
  std::vector<int> offsets;
  bool residual = false;

  Segments segments() const { return {static_cast<int>(offsets.size()) - 1, offsets.data()}; }
  int64_t pixels() const { return int64_t{problem.N} * problem.H * problem.W; }
  int ldx() const { return problem.ldx ? problem.ldx : problem.C; }
  int ldy() const { return problem.ldy ? problem.ldy : problem.C; }
};

std::vector<Case> cases() {
  std::vector<Case> list;
  for (int C : {1, 7, 31, 33, 130}) {
    list.push_back({{.N = 1, .H = 3, .W = 5, .C = C}, {0, 1}});
    list.push_back({{.N = 6, .H = 5, .W = 7, .C = C, .ldx = C + 3, .ldy = C + 9}, {0, 1, 6}});
    list.push_back({{.N = 6, .H = 4, .W = 4, .C = C, .ldx = C + 5}, {0, 1, 4, 6}, true});
    list.push_back({{.N = 4, .H = 6, .W = 3, .C = C, .relu = false}, {0, 3, 4}, true});
    list.push_back({{.N = 4, .H = 2, .W = 3, .C = C, .batch_statistics = false}, {0, 3, 4}});
  }
  list.push_back({{.N = 5, .H = 40, .W = 41, .C = 33}, {0, 4, 5}});  // several units a segment
  return list;
}

// ---- The definition, in type M, storing T -------------------------------------------------------

template <class T>
struct Plain {
  using M = Master<T>;
  std::vector<M> mean, variance, dgamma, dbeta;
  std::vector<T> y, dx, dresidual;
};

template <class T>
struct Data {
  std::vector<T> x, residual, dy;
  std::vector<Master<T>> gamma, beta, mean, variance;  // given statistics

  explicit Data(const Case& c)
      : x(normal_values<T>(c.pixels() * c.ldx(), 1, 3.0, 2.0)),
        residual(normal_values<T>(c.pixels() * c.ldy(), 2)),
        dy(normal_values<T>(c.pixels() * c.ldy(), 3)),
        gamma(normal_values<Master<T>>(c.problem.C, 4, 1.0, 0.3)),
        beta(normal_values<Master<T>>(c.problem.C, 5, 0.0, 0.5)),
        mean(normal_values<Master<T>>(c.segments().count * c.problem.C, 6, 3.0, 0.2)),
        variance(normal_values<Master<T>>(c.segments().count * c.problem.C, 7, 4.0, 0.1)) {}
  Data() = default;

  Data<double> in_f64() const {
    Data<double> d;
    d.x = convert_to<double>(x);
    d.residual = convert_to<double>(residual);
    d.dy = convert_to<double>(dy);
    d.gamma = convert_to<double>(gamma);
    d.beta = convert_to<double>(beta);
    d.mean = convert_to<double>(mean);
    d.variance = convert_to<double>(variance);
    return d;
  }
};

// `mask` (pixels, C): which outputs ReLU let through; given to backward, so that a value near zero
// cannot make two precisions disagree.
template <class T>
Plain<T> plain(const Case& c, const Data<T>& d, const std::vector<bool>& mask) {
  using M = Master<T>;
  const BatchNormProblem& p = c.problem;
  const int C = p.C, S = c.segments().count;
  Plain<T> out;
  out.mean.assign(S * C, 0);
  out.variance.assign(S * C, 0);
  out.dgamma.assign(C, 0);
  out.dbeta.assign(C, 0);
  out.y.assign(c.pixels() * C, T(0));
  out.dx = out.dresidual = out.y;
  for (int s = 0; s < S; ++s) {
    const int64_t first = int64_t{c.offsets[s]} * p.H * p.W;
    const int64_t last = int64_t{c.offsets[s + 1]} * p.H * p.W;
    const M m = static_cast<M>(last - first);
    for (int k = 0; k < C; ++k) {
      const auto x = [&](int64_t i) { return static_cast<M>(d.x[i * c.ldx() + k]); };
      M mean = 0, variance = 0;
      for (int64_t i = first; i < last; ++i) mean += x(i);
      mean /= m;
      for (int64_t i = first; i < last; ++i) variance += (x(i) - mean) * (x(i) - mean);
      variance /= m;
      out.mean[s * C + k] = mean;
      out.variance[s * C + k] = variance;
      if (!p.batch_statistics) {
        mean = d.mean[s * C + k];
        variance = d.variance[s * C + k];
      }
      const M sigma = std::sqrt(variance + static_cast<M>(p.eps));
      M sum_dz = 0, sum_dz_xhat = 0;
      const auto dz = [&](int64_t i) {
        return mask[i * C + k] ? static_cast<M>(d.dy[i * c.ldy() + k]) : M(0);
      };
      for (int64_t i = first; i < last; ++i) {
        const M xhat = (x(i) - mean) / sigma;
        M z = d.gamma[k] * xhat + d.beta[k];
        if (c.residual) z += static_cast<M>(d.residual[i * c.ldy() + k]);
        out.y[i * C + k] = T(p.relu && z < 0 ? M(0) : z);
        sum_dz += dz(i);
        sum_dz_xhat += dz(i) * xhat;
      }
      out.dgamma[k] += sum_dz_xhat;
      out.dbeta[k] += sum_dz;
      for (int64_t i = first; i < last; ++i) {
        const M xhat = (x(i) - mean) / sigma;
        const M centred =
            p.batch_statistics ? dz(i) - sum_dz / m - xhat * (sum_dz_xhat / m) : dz(i);
        out.dx[i * C + k] = T(d.gamma[k] / sigma * centred);
        out.dresidual[i * C + k] = T(dz(i));
      }
    }
  }
  return out;
}

template <class T>
std::vector<T> packed(const Case& c, const Guarded<T>& from, int ld) {
  std::vector<T> to;
  for (int64_t i = 0; i < c.pixels(); ++i)
    for (int k = 0; k < c.problem.C; ++k) to.push_back(from[i * ld + k]);
  return to;
}

template <class T>
class BatchNorm : public ::testing::Test {};
TYPED_TEST_SUITE(BatchNorm, ActivationTypes);

template <class T>
Plain<T> run(const Case& c, const Data<T>& d, std::vector<bool>& mask, bool mask_from_y) {
  using M = Master<T>;
  const BatchNormProblem& p = c.problem;
  const int C = p.C, S = c.segments().count;
  const int ld = C + 2;  // tables of moments may be columns of a wider table
  Scratch scratch(batch_norm_workspace_bytes(p, kDTypeOf<T>, S));
  Plain<T> out;
  Guarded<M> mean(S * ld), variance(S * ld), scale(S * C), shift(S * C), dgamma(C), dbeta(C);
  Guarded<T> y(c.pixels() * c.ldy(), 7), dx(c.pixels() * c.ldx(), 7),
      dresidual(c.pixels() * c.ldy(), 7);
  batch_norm_moments(p, d.x.data(), c.segments(), mean.data(), variance.data(), ld, scratch.span());
  for (int s = 0; s < S; ++s)
    for (int k = 0; k < C; ++k) {
      out.mean.push_back(mean[s * ld + k]);
      out.variance.push_back(variance[s * ld + k]);
      if (p.batch_statistics) continue;
      mean[s * ld + k] = d.mean[s * C + k];
      variance[s * ld + k] = d.variance[s * C + k];
    }
  batch_norm_fold(S, C, p.eps, d.gamma.data(), d.beta.data(), mean.data(), variance.data(), ld,
                  scale.data(), shift.data());
  batch_norm_apply(p, d.x.data(), c.segments(), scale.data(), shift.data(),
                   c.residual ? d.residual.data() : nullptr, y.data());
  for (int64_t i = 0; i < c.pixels(); ++i)
    for (int k = C; k < c.ldy(); ++k) EXPECT_EQ(static_cast<M>(y[i * c.ldy() + k]), M(7));
  out.y = packed(c, y, c.ldy());
  mask.clear();
  for (T v : out.y) mask.push_back(!p.relu || static_cast<M>(v) > 0);
  batch_norm_backward(p,
                      BatchNormBackward<T>{.dy = d.dy.data(),
                                           .x = d.x.data(),
                                           .y = mask_from_y ? y.data() : nullptr,
                                           .gamma = d.gamma.data(),
                                           .beta = d.beta.data(),
                                           .mean = mean.data(),
                                           .variance = variance.data(),
                                           .ld = ld,
                                           .dgamma = dgamma.data(),
                                           .dbeta = dbeta.data(),
                                           .dx = dx.data(),
                                           .dresidual = dresidual.data(),
                                           .segments = c.segments()},
                      scratch.span());
  for (int64_t i = 0; i < c.pixels(); ++i)
    for (int k = C; k < c.ldx(); ++k) EXPECT_EQ(static_cast<M>(dx[i * c.ldx() + k]), M(7));
  out.dx = packed(c, dx, c.ldx());
  out.dresidual = packed(c, dresidual, c.ldy());
  out.dgamma = dgamma.copy();
  out.dbeta = dbeta.copy();
  return out;
}

TYPED_TEST(BatchNorm, MatchesTheDefinition) {
  using T = TypeParam;
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.problem.to_string());
    const Data<T> d(c);
    std::vector<bool> mask;
    const Plain<T> got = run(c, d, mask, c.residual);
    const Plain<T> rounded = plain(c, d, mask);
    const Plain<double> want = plain(c, d.in_f64(), mask);
    expect_close("mean", got.mean, rounded.mean, want.mean);
    expect_close("variance", got.variance, rounded.variance, want.variance);
    expect_close("y", got.y, rounded.y, want.y);
    expect_close("dgamma", got.dgamma, rounded.dgamma, want.dgamma);
    expect_close("dbeta", got.dbeta, rounded.dbeta, want.dbeta);
    expect_close("dx", got.dx, rounded.dx, want.dx);
    expect_close("dresidual", got.dresidual, rounded.dresidual, want.dresidual);
  }
}

TYPED_TEST(BatchNorm, RecomputedMaskIsForwardsMask) {
  using T = TypeParam;
  for (Case c : cases()) {
    c.residual = false;
    const Data<T> d(c);
    std::vector<bool> mask;
    const Plain<T> from_y = run(c, d, mask, true), recomputed = run(c, d, mask, false);
    EXPECT_TRUE(same_bits(from_y.dresidual, recomputed.dresidual)) << c.problem.to_string();
    EXPECT_TRUE(same_bits(from_y.dx, recomputed.dx)) << c.problem.to_string();
  }
}

TYPED_TEST(BatchNorm, AnyNumberOfThreadsGivesTheSameBits) {
  using T = TypeParam;
  const Case c{{.N = 7, .H = 19, .W = 17, .C = 67}, {0, 2, 3, 7}};
  const Data<T> d(c);
  same_for_any_threads([&] {
    std::vector<bool> mask;
    const Plain<T> out = run(c, d, mask, false);
    std::vector<T> all = out.dx;
    all.insert(all.end(), out.y.begin(), out.y.end());
    for (const auto* table : {&out.mean, &out.variance, &out.dgamma, &out.dbeta}) {
      const std::vector<T> bits = convert_to<T>(*table);
      all.insert(all.end(), bits.begin(), bits.end());
    }
    return all;
  });
}

// A segment's results do not depend on which other segments share the batch.
TYPED_TEST(BatchNorm, SegmentsAreIndependent) {
  using T = TypeParam;
  const Case both{{.N = 7, .H = 19, .W = 17, .C = 35}, {0, 3, 7}};
  const Case second{{.N = 4, .H = 19, .W = 17, .C = 35}, {0, 4}};
  const Data<T> d(both);
  Data<T> tail = d;
  const auto drop = [&](std::vector<T>& v) { v.erase(v.begin(), v.begin() + 3 * 19 * 17 * 35); };
  drop(tail.x);
  drop(tail.dy);
  drop(tail.residual);
  std::vector<bool> mask;
  Plain<T> whole = run(both, d, mask, false);
  drop(whole.dx);
  EXPECT_TRUE(same_bits(whole.dx, run(second, tail, mask, false).dx));
}

// d/dx, d/dgamma and d/dbeta of sum(y * dy), by central differences in f64.
TEST(BatchNormGradient, FiniteDifferences) {
  for (bool batch_statistics : {true, false}) {
    const Case c{
        {.N = 3, .H = 2, .W = 3, .C = 5, .batch_statistics = batch_statistics}, {0, 2, 3}, true};
    Data<double> d(c);
    std::vector<bool> mask;
    const Plain<double> at = run(c, d, mask, true);
    const auto loss = [&] {
      std::vector<bool> now;
      const Plain<double> out = run(c, d, now, true);
      EXPECT_EQ(now, mask) << "a step crossed zero: choose another seed";
      double sum = 0;
      for (size_t i = 0; i < out.y.size(); ++i) sum += out.y[i] * d.dy[i];
      return sum;
    };
    const auto check = [&](std::vector<double>& values, const std::vector<double>& gradient) {
      for (size_t i = 0; i < values.size(); ++i) {
        const double h = 1e-5, before = values[i];
        values[i] = before + h;
        const double up = loss();
        values[i] = before - h;
        const double down = loss();
        values[i] = before;
        EXPECT_NEAR((up - down) / (2 * h), gradient[i], 1e-7);
      }
    };
    check(d.x, at.dx);
    check(d.residual, at.dresidual);
    check(d.gamma, at.dgamma);
    check(d.beta, at.dbeta);
  }
}

// A large mean beside a small spread: E[x^2] - E[x]^2 would return noise.
TEST(BatchNormMoments, LargeMeanSmallSpread) {
  const Case c{{.N = 4, .H = 32, .W = 32, .C = 9}, {0, 4}};
  const std::vector<float> x = normal_values<float>(c.pixels() * 9, 11, 1000.0, 0.01);
  std::vector<float> mean(9), variance(9);
  Scratch scratch(batch_norm_workspace_bytes(c.problem, DType::f32, 1));
  batch_norm_moments(c.problem, x.data(), c.segments(), mean.data(), variance.data(), 0,
                     scratch.span());
  for (int k = 0; k < 9; ++k) {
    double mu = 0, v = 0;
    for (int64_t i = 0; i < c.pixels(); ++i) mu += x[i * 9 + k];
    mu /= static_cast<double>(c.pixels());
    for (int64_t i = 0; i < c.pixels(); ++i) v += (x[i * 9 + k] - mu) * (x[i * 9 + k] - mu);
    EXPECT_NEAR(variance[k], v / static_cast<double>(c.pixels()), 1e-9);
    EXPECT_NEAR(mean[k], mu, 1e-4);
  }
}

TYPED_TEST(BatchNorm, AccumulatesAndWorksInPlace) {
  using T = TypeParam;
  using M = Master<T>;
  const Case c{{.N = 3, .H = 4, .W = 5, .C = 31}, {0, 1, 3}};
  const Data<T> d(c);
  std::vector<bool> mask;
  const Plain<T> want = run(c, d, mask, false);
  Scratch scratch(batch_norm_workspace_bytes(c.problem, kDTypeOf<T>, 2));
  BatchNormBackward<T> args{.dy = nullptr,
                            .x = d.x.data(),
                            .gamma = d.gamma.data(),
                            .beta = d.beta.data(),
                            .mean = want.mean.data(),
                            .variance = want.variance.data(),
                            .segments = c.segments()};
  std::vector<T> in_place = d.dy;
  args.dy = args.dx = in_place.data();
  args.dx = in_place.data();
  batch_norm_backward(c.problem, args, scratch.span());
  EXPECT_TRUE(same_bits(in_place, want.dx));

  std::vector<T> sum(d.dy.size(), T(M(0.5)));
  std::vector<M> dgamma(31, M(2));
  args.dy = d.dy.data();
  args.dx = sum.data();
  args.dx_mode = GradMode::accumulate;
  args.dgamma = dgamma.data();
  args.parameter_mode = GradMode::accumulate;
  batch_norm_backward(c.problem, args, scratch.span());
  const double unit = std::is_same_v<T, bf16> ? 0.03 : 1e-6;
  for (size_t i = 0; i < sum.size(); ++i)
    ASSERT_NEAR(static_cast<M>(sum[i]), 0.5 + static_cast<M>(want.dx[i]), unit);
  for (int k = 0; k < 31; ++k) ASSERT_NEAR(dgamma[k], 2 + want.dgamma[k], 1e-5);

  std::vector<T> x = d.x;
  std::vector<M> scale(62), shift(62);
  batch_norm_fold(2, 31, c.problem.eps, d.gamma.data(), d.beta.data(), want.mean.data(),
                  want.variance.data(), 0, scale.data(), shift.data());
  batch_norm_apply<T>(c.problem, x.data(), c.segments(), scale.data(), shift.data(), nullptr,
                      x.data());
  EXPECT_TRUE(same_bits(x, want.y));
}

TEST(BatchNormErrors, NanReachesTheOutputAndBadSegmentsAreRefused) {
  const Case c{{.N = 2, .H = 1, .W = 2, .C = 3}, {0, 2}};
  std::vector<float> x(12, 1.0f), scale(3, 1.0f), shift(3, 0.0f), y(12);
  x[4] = std::nanf("");
  batch_norm_apply<float>(c.problem, x.data(), c.segments(), scale.data(), shift.data(), nullptr,
                          y.data());
  EXPECT_TRUE(std::isnan(y[4]));
  const int wrong[] = {0, 1};
  EXPECT_THROW(batch_norm_apply<float>(c.problem, x.data(), {1, wrong}, scale.data(), shift.data(),
                                       nullptr, y.data()),
               Error);
}

}  // namespace
}  // namespace mono
