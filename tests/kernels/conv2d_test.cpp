// Every variant of the three convolution passes against a naive oracle, over one list of cases.
//
// The oracle in double is the truth; the oracle in T, with T's roundings and sequential sums, is
// "the plain computation in the same type": a variant's error may be at most twice that.
#include "kernels/conv2d/conv2d.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "tests/kernels/kernel_test.h"

namespace mono {
namespace {

using namespace mono::test;

struct Case {
  ConvProblem problem;
  std::vector<int> offsets;  // of the segments
  bool prologue = true;      // scale, shift and ReLU on x; mask and sums in dgrad
  bool deferred = true;      // g = a*dy + b*y + c in dgrad
  bool accumulate = false;   // into dx and dw
};

const std::vector<Case> kCases = {
    {{1, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1}, {0, 1}, false, false},
    {{1, 1, 1, 33, 31, 1, 1, 1, 0, 33, 31}, {0, 1}},
    {{2, 5, 7, 7, 1, 3, 3, 1, 1, 9, 3}, {0, 2}, true, false},
    {{1, 7, 5, 1, 33, 3, 3, 1, 1, 1, 40}, {0, 1}, false, true, true},
    {{4, 4, 4, 31, 48, 1, 1, 1, 0, 64, 48}, {0, 1, 4}, true, true, true},
    {{6, 6, 6, 96, 48, 3, 3, 1, 1, 96, 130}, {0, 1, 3, 6}, true, true},
    {{3, 8, 8, 48, 33, 1, 1, 1, 0, 100, 33}, {0, 3}, true, false, true},
    {{2, 15, 13, 6, 32, 7, 7, 2, 3, 6, 32}, {0, 2}, false, false},
    {{2, 9, 9, 16, 16, 3, 3, 2, 1, 16, 16}, {0, 1, 2}, false, true, true},
    {{2, 10, 6, 32, 64, 1, 1, 2, 0, 32, 64}, {0, 2}, false, false},
    {{2, 4, 4, 100, 40, 3, 3, 1, 1, 104, 40}, {0, 1, 2}, true, false, true},
    {{5, 7, 7, 160, 48, 1, 1, 1, 0, 208, 48}, {0, 2, 5}, true, true, true},
    {{1, 17, 33, 48, 31, 3, 3, 1, 1, 48, 31}, {0, 1}},
    {{2, 6, 5, 3, 8, 2, 4, 3, 2, 3, 8}, {0, 2}, true, true},
    {{1, 40, 40, 8, 16, 3, 3, 1, 1, 8, 16}, {0, 1}, true, true},
    {{5, 4, 4, 96, 48, 3, 3, 1, 1, 96, 96}, {0, 1, 5}, true, true, true},
    {{2, 16, 16, 64, 32, 3, 3, 1, 1, 64, 64}, {0, 2}, true, true},
    {{2, 7, 9, 32, 48, 3, 3, 2, 1, 40, 48}, {0, 1, 2}, true, true},
    {{3, 12, 12, 24, 64, 1, 1, 1, 0, 24, 80}, {0, 1, 3}, true, true, true},
};

// The operands of a case, representable in bf16 and so the same numbers in every type.
template <class T, class GradT>
struct Operands {
  using M = Master<T>;
  GuardedArray<T> x, y_saved;
  GuardedArray<M> w, scale, shift, mean, multiply, a, b, c;
  GuardedArray<GradT> dy;
  GuardedArray<T> g;

  explicit Operands(const Case& test) {
    const ConvProblem& p = test.problem;
    const int64_t segments = static_cast<int64_t>(test.offsets.size()) - 1;
    const int64_t pixels_in = int64_t{p.N} * p.H * p.W, pixels = int64_t{p.N} * p.P() * p.Q();
    x = normal<T>(pixels_in * p.ldx, 1, 0.25);
    w = normal<M>(int64_t{p.K} * p.R * p.S * p.C, 2);
    dy = normal<GradT>(pixels * p.ldy, 3);
    y_saved = normal<T>(pixels * p.ldy, 4);
    g = normal<T>(pixels * p.ldy, 5);
    scale = normal<M>(segments * p.C, 6, 1, 0.5);
    shift = normal<M>(segments * p.C, 7, 0, 0.5);
    mean = normal<M>(segments * (p.C + 3), 8, 0.25, 0.25);
    multiply = normal<M>(segments * p.C, 9, 1, 0.5);
    a = normal<M>(segments * p.K, 10, 1, 0.5);
    b = normal<M>(segments * p.K, 11, 0, 0.25);
    c = normal<M>(segments * p.K, 12, 0, 0.25);
  }
};

template <class T, class GradT>
struct Results {
  using M = Master<T>;
  GuardedArray<T> y, g_out;
  GuardedArray<GradT> dx;
  GuardedArray<M> mean, variance, sum_dz, sum_dzx, dw;

  explicit Results(const Case& test) {
    const ConvProblem& p = test.problem;
    const int64_t segments = static_cast<int64_t>(test.offsets.size()) - 1;
    const int64_t pixels_in = int64_t{p.N} * p.H * p.W, pixels = int64_t{p.N} * p.P() * p.Q();
    y = GuardedArray<T>(pixels * p.ldy);
    g_out = GuardedArray<T>(pixels * p.K);
    dx = normal<GradT>(pixels_in * p.ldx, 20);  // what lies between the channels must survive
    mean = GuardedArray<M>(segments * (p.K + 5));
    variance = GuardedArray<M>(segments * (p.K + 5));
    sum_dz = GuardedArray<M>(segments * p.C);
    sum_dzx = GuardedArray<M>(segments * p.C);
    dw = normal<M>(int64_t{p.K} * p.R * p.S * p.C, 21);
  }

  template <class F, class Other>
  static void for_each(F&& f, Results& mine, Other& other) {
    f("y", mine.y, other.y);
    f("mean", mine.mean, other.mean);
    f("variance", mine.variance, other.variance);
    f("g_out", mine.g_out, other.g_out);
    f("dx", mine.dx, other.dx);
    f("sum_dz", mine.sum_dz, other.sum_dz);
    f("sum_dzx", mine.sum_dzx, other.sum_dzx);
    f("dw", mine.dw, other.dw);
  }
};

template <class T, class GradT>
ConvFprop<T> fprop_arguments(const Case& test, Operands<T, GradT>& in, Results<T, GradT>& out) {
  ConvFprop<T> args;
  args.x = in.x.data();
  args.w = in.w.data();
  args.y = out.y.data();
  if (test.prologue) args.prologue = {in.scale.data(), in.shift.data()};
  args.moments = {out.mean.data(), out.variance.data(), test.problem.K + 5};
  args.segments = {static_cast<int>(test.offsets.size()) - 1, test.offsets.data()};
  return args;
}

template <class T, class GradT>
ConvDgrad<T, GradT> dgrad_arguments(const Case& test, Operands<T, GradT>& in,
                                    Results<T, GradT>& out) {
  ConvDgrad<T, GradT> args;
  args.dy = in.dy.data();
  args.w = in.w.data();
  if (test.deferred) {
    args.y = in.y_saved.data();
    args.a = in.a.data();
    args.b = in.b.data();
    args.c = in.c.data();
    args.g_out = out.g_out.data();
  }
  if (test.prologue) {
    args.mask = {in.scale.data(), in.shift.data()};
    args.x = in.x.data();
    args.mean = in.mean.data();
    args.mean_ld = test.problem.C + 3;
    args.sum_dz = out.sum_dz.data();
    args.sum_dzx = out.sum_dzx.data();
    args.multiply = in.multiply.data();
  }
  args.dx = out.dx.data();
  args.mode = test.accumulate ? GradMode::accumulate : GradMode::overwrite;
  args.segments = {static_cast<int>(test.offsets.size()) - 1, test.offsets.data()};
  return args;
}

template <class T, class GradT>
ConvWgrad<T> wgrad_arguments(const Case& test, Operands<T, GradT>& in, Results<T, GradT>& out) {
  ConvWgrad<T> args;
  args.x = in.x.data();
  if (test.prologue) args.prologue = {in.scale.data(), in.shift.data()};
  args.g = in.g.data();
  args.dw = out.dw.data();
  args.mode = test.accumulate ? GradMode::accumulate : GradMode::overwrite;
  args.segments = {static_cast<int>(test.offsets.size()) - 1, test.offsets.data()};
  return args;
}

bool supported(ConvVariant variant, const ConvProblem& p, DType dtype) {
  return conv2d_supports(variant, ConvPass::fprop, p, dtype) &&
         conv2d_supports(variant, ConvPass::dgrad, p, dtype) &&
         conv2d_supports(variant, ConvPass::wgrad, p, dtype);
}

template <class T, class GradT>
Results<T, GradT> run(ConvVariant variant, const Case& test) {
  Operands<T, GradT> in(test);
  Results<T, GradT> out(test);
  const ConvProblem& p = test.problem;
  const int segments = static_cast<int>(test.offsets.size()) - 1;
  const auto workspace = [&](ConvPass pass) {
    return GuardedArray<std::byte>(conv2d_workspace_bytes(variant, pass, p, kDTypeOf<T>, segments));
  };
  // Scratch starts as NaN: nothing may be read before it was written.
  GuardedArray<std::byte> f = workspace(ConvPass::fprop), d = workspace(ConvPass::dgrad),
                          w = workspace(ConvPass::wgrad);
  for (auto* scratch : {&f, &d, &w}) std::fill_n(scratch->data(), scratch->size(), std::byte{0xff});
  conv2d_fprop<T>(variant, p, fprop_arguments(test, in, out), f.span());
  conv2d_dgrad<T, GradT>(variant, p, dgrad_arguments(test, in, out), d.span());
  conv2d_wgrad<T>(variant, p, wgrad_arguments(test, in, out), w.span());
  EXPECT_TRUE(f.intact() && d.intact() && w.intact()) << "written behind the workspace";
  return out;
}

// ---- the oracle -------------------------------------------------------------------------------

template <class T>
Master<T> value(T v) {
  return static_cast<Master<T>>(v);
}
template <class T>
T rounded(Master<T> v) {
  return static_cast<T>(v);
}

// z of one input position, zero outside the image.
template <class T>
Master<T> z_at(const ConvProblem& p, const T* x, const ScaleShiftRelu<T>& prologue, int segment,
               int n, int h, int w, int c) {
  if (h < 0 || h >= p.H || w < 0 || w >= p.W) return 0;
  const T v = x[((int64_t{n} * p.H + h) * p.W + w) * p.ldx + c];
  if (!prologue.scale) return value(v);
  const int64_t i = int64_t{segment} * p.C + c;
  const Master<T> scaled = prologue.scale[i] * value(v);
  return value(rounded<T>(std::max(Master<T>(0), scaled + prologue.shift[i])));
}

int segment_at(const Segments& segments, int n) {
  int s = 0;
  while (segments.end(s) <= n) ++s;
  return s;
}

template <class T>
void oracle_fprop(const ConvProblem& p, const ConvFprop<T>& args) {
  using M = Master<T>;
  const int P = p.P(), Q = p.Q();
  for (int s = 0; s < args.segments.count; ++s)
    for (int k = 0; k < p.K; ++k) {
      std::vector<M> stored;
      for (int n = args.segments.begin(s); n < args.segments.end(s); ++n)
        for (int i = 0; i < P * Q; ++i) {
          M sum = 0;
          for (int r = 0; r < p.R; ++r)
            for (int t = 0; t < p.S; ++t)
              for (int c = 0; c < p.C; ++c)
                sum += z_at(p, args.x, args.prologue, s, n, i / Q * p.stride + r - p.pad,
                            i % Q * p.stride + t - p.pad, c) *
                       value(rounded<T>(args.w[((int64_t{k} * p.R + r) * p.S + t) * p.C + c]));
          T& y = args.y[(int64_t{n} * P * Q + i) * p.ldy + k];
          y = rounded<T>(sum);
          stored.push_back(value(y));
        }
      const M count = static_cast<M>(stored.size());
      M mean = 0, m2 = 0;
      for (M v : stored) mean += v;
      mean /= count;
      for (M v : stored) m2 += (v - mean) * (v - mean);
      args.moments.mean[int64_t{s} * args.moments.ld + k] = mean;
      args.moments.variance[int64_t{s} * args.moments.ld + k] = m2 / count;
    }
}

template <class T, class GradT>
void oracle_dgrad(const ConvProblem& p, const ConvDgrad<T, GradT>& args) {
  using M = Master<T>;
  const int P = p.P(), Q = p.Q();
  const auto g_at = [&](int s, int64_t pixel, int k) {
    const int64_t i = int64_t{s} * p.K + k;
    M g = static_cast<M>(args.dy[pixel * p.ldy + k]);
    if (args.a) g *= args.a[i];
    if (args.b) g += args.b[i] * value(args.y[pixel * p.ldy + k]) + args.c[i];
    return rounded<T>(g);
  };
  if (args.g_out)
    for (int64_t pixel = 0; pixel < int64_t{p.N} * P * Q; ++pixel)
      for (int k = 0; k < p.K; ++k)
        args.g_out[pixel * p.K + k] =
            g_at(segment_at(args.segments, static_cast<int>(pixel / (P * Q))), pixel, k);
  for (int s = 0; s < args.segments.count; ++s)
    for (int c = 0; c < p.C; ++c) {
      M sum_dz = 0, sum_dzx = 0;
      for (int n = args.segments.begin(s); n < args.segments.end(s); ++n)
        for (int i = 0; i < p.H * p.W; ++i) {
          M dz = 0;
          for (int r = 0; r < p.R; ++r)
            for (int t = 0; t < p.S; ++t) {
              const int row = i / p.W + p.pad - r, column = i % p.W + p.pad - t;
              if (row % p.stride != 0 || column % p.stride != 0) continue;
              const int y = row / p.stride, x = column / p.stride;
              if (row < 0 || column < 0 || y >= P || x >= Q) continue;
              for (int k = 0; k < p.K; ++k)
                dz += value(g_at(s, (int64_t{n} * P + y) * Q + x, k)) *
                      value(rounded<T>(args.w[((int64_t{k} * p.R + r) * p.S + t) * p.C + c]));
            }
          const int64_t at = (int64_t{n} * p.H * p.W + i) * p.ldx + c;
          const int64_t table = int64_t{s} * p.C + c;
          if (args.mask.scale) {
            const M x = value(args.x[at]);
            const M scaled = args.mask.scale[table] * x;
            if (!(scaled + args.mask.shift[table] > 0)) dz = 0;
            sum_dz += dz;
            sum_dzx += dz * (x - args.mean[int64_t{s} * args.mean_ld + c]);
          }
          if (args.multiply) dz *= args.multiply[table];
          if (args.mode == GradMode::accumulate) dz += static_cast<M>(args.dx[at]);
          args.dx[at] = static_cast<GradT>(dz);
        }
      if (args.sum_dz) args.sum_dz[int64_t{s} * p.C + c] = sum_dz;
      if (args.sum_dzx) args.sum_dzx[int64_t{s} * p.C + c] = sum_dzx;
    }
}

template <class T>
void oracle_wgrad(const ConvProblem& p, const ConvWgrad<T>& args) {
  using M = Master<T>;
  const int P = p.P(), Q = p.Q();
  for (int k = 0; k < p.K; ++k)
    for (int r = 0; r < p.R; ++r)
      for (int t = 0; t < p.S; ++t)
        for (int c = 0; c < p.C; ++c) {
          M sum = 0;
          for (int n = 0; n < p.N; ++n)
            for (int i = 0; i < P * Q; ++i)
              sum += value(args.g[(int64_t{n} * P * Q + i) * p.ldy + k]) *
                     z_at(p, args.x, args.prologue, segment_at(args.segments, n), n,
                          i / Q * p.stride + r - p.pad, i % Q * p.stride + t - p.pad, c);
          M& dw = args.dw[((int64_t{k} * p.R + r) * p.S + t) * p.C + c];
          dw = args.mode == GradMode::accumulate ? dw + sum : sum;
        }
}

template <class T, class GradT>
Results<T, GradT> oracle(const Case& test) {
  Operands<T, GradT> in(test);
  Results<T, GradT> out(test);
  oracle_fprop<T>(test.problem, fprop_arguments(test, in, out));
  oracle_dgrad<T, GradT>(test.problem, dgrad_arguments(test, in, out));
  oracle_wgrad<T>(test.problem, wgrad_arguments(test, in, out));
  return out;
}

// ---- the tests --------------------------------------------------------------------------------

constexpr ConvVariant kVariants[] = {ConvVariant::reference, ConvVariant::onednn,
                                     ConvVariant::implicit_gemm};

template <class T, class GradT>
void expect_as_good_as_plain(Results<double, double>& truth, const Case& test) {
  Results<T, GradT> plain = oracle<T, GradT>(test);
  std::vector<double> allowed;
  Results<T, GradT>::for_each(
      [&](const char*, auto& mine, auto& exact) {
        allowed.push_back(2 * relative_error(mine, exact) + kErrorFloor<T>);
      },
      plain, truth);
  for (ConvVariant variant : kVariants) {
    if (!supported(variant, test.problem, kDTypeOf<T>)) continue;
    SCOPED_TRACE(
        fmt::format("{} {} {}", name_of(variant), name_of(kDTypeOf<T>), test.problem.to_string()));
    Results<T, GradT> result = run<T, GradT>(variant, test);
    size_t i = 0;
    Results<T, GradT>::for_each(
        [&](const char* name, auto& mine, auto& exact) {
          EXPECT_TRUE(mine.intact()) << name << " was written outside";
          EXPECT_LE(relative_error(mine, exact), allowed[i++]) << name;
        },
        result, truth);
  }
}

TEST(Conv2d, AgreesWithTheOracle) {
  for (const Case& test : kCases) {
    Results<double, double> truth = oracle<double, double>(test);
    expect_as_good_as_plain<double, double>(truth, test);
    expect_as_good_as_plain<float, float>(truth, test);
    expect_as_good_as_plain<bf16, bf16>(truth, test);
    expect_as_good_as_plain<bf16, float>(truth, test);
  }
}

template <class T, class GradT>
void expect_same_bits_for_any_threads(const Case& test) {
  for (ConvVariant variant : kVariants) {
    if (!supported(variant, test.problem, kDTypeOf<T>)) continue;
    SCOPED_TRACE(
        fmt::format("{} {} {}", name_of(variant), name_of(kDTypeOf<T>), test.problem.to_string()));
    const Threads one(1);
    Results<T, GradT> serial = run<T, GradT>(variant, test);
    for (int threads : {2, 3}) {
      const Threads several(threads);
      Results<T, GradT> parallel = run<T, GradT>(variant, test);
      Results<T, GradT>::for_each(
          [&](const char* name, auto& mine, auto& other) {
            EXPECT_TRUE(mine == other) << name << " differs with " << threads << " threads";
          },
          parallel, serial);
    }
  }
}

TEST(Conv2d, SameBitsForAnyNumberOfThreads) {
  for (const Case& test : kCases) {
    expect_same_bits_for_any_threads<double, double>(test);
    expect_same_bits_for_any_threads<float, float>(test);
    expect_same_bits_for_any_threads<bf16, float>(test);
  }
}

// L = sum u*y + sum alpha*mean + sum beta*variance, with y and its moments from fprop. Then
// dL/dy = u + (2 beta/m) y + (alpha - 2 beta mean)/m per segment and channel, which is the affine
// gradient prologue; and mask, sums and multiply give dL/dx, dL/dshift and dL/dscale.
class FiniteDifferences {
 public:
  explicit FiniteDifferences(const Case& test)
      : test_(test),
        in_(test),
        out_(test),
        alpha_(normal<double>(out_.mean.size(), 30)),
        beta_(normal<double>(out_.mean.size(), 31)) {
    test_.prologue = true;
    test_.accumulate = false;
    // Off the bf16 grid, where scale*x + shift is exactly zero, the kink of ReLU, too often.
    const GuardedArray<double> noise = normal<double>(in_.x.size(), 32);
    for (int64_t i = 0; i < in_.x.size(); ++i)
      in_.x[i] += 1e-3 * std::sin(1 + 7 * noise[i] + double(i));
  }

  double loss() {
    const ConvProblem& p = test_.problem;
    workspace_ = GuardedArray<std::byte>(bytes(ConvPass::fprop));
    conv2d_fprop<double>(ConvVariant::reference, p, fprop_arguments(test_, in_, out_),
                         workspace_.span());
    double sum = 0;
    for (int64_t pixel = 0; pixel < int64_t{p.N} * p.P() * p.Q(); ++pixel)
      for (int k = 0; k < p.K; ++k) sum += in_.dy[pixel * p.ldy + k] * out_.y[pixel * p.ldy + k];
    for (int s = 0; s < segments(); ++s)
      for (int k = 0; k < p.K; ++k) {
        const int64_t i = int64_t{s} * (p.K + 5) + k;
        sum += alpha_[i] * out_.mean[i] + beta_[i] * out_.variance[i];
      }
    return sum;
  }

  void check() {
    const ConvProblem& p = test_.problem;
    loss();
    std::fill_n(in_.a.data(), in_.a.size(), 1.0);
    for (int s = 0; s < segments(); ++s)
      for (int k = 0; k < p.K; ++k) {
        const double m = double(test_.offsets[s + 1] - test_.offsets[s]) * p.P() * p.Q();
        const int64_t i = int64_t{s} * (p.K + 5) + k, table = int64_t{s} * p.K + k;
        in_.b[table] = 2 * beta_[i] / m;
        in_.c[table] = (alpha_[i] - 2 * beta_[i] * out_.mean[i]) / m;
      }
    in_.y_saved = out_.y;
    in_.multiply = in_.scale;
    std::fill_n(in_.mean.data(), in_.mean.size(), 0.0);
    test_.deferred = true;
    workspace_ = GuardedArray<std::byte>(bytes(ConvPass::dgrad));
    conv2d_dgrad<double, double>(ConvVariant::reference, p, dgrad_arguments(test_, in_, out_),
                                 workspace_.span());
    ConvWgrad<double> wgrad = wgrad_arguments(test_, in_, out_);
    wgrad.g = out_.g_out.data();
    wgrad.ldg = p.K;
    workspace_ = GuardedArray<std::byte>(bytes(ConvPass::wgrad));
    conv2d_wgrad<double>(ConvVariant::reference, p, wgrad, workspace_.span());

    // Between the channels of a pitched x nothing has a gradient.
    GuardedArray<double> dx(out_.dx.size());
    for (int64_t i = 0; i < dx.size(); ++i) dx[i] = i % p.ldx < p.C ? out_.dx[i] : 0;
    check_direction("x", in_.x, dx);
    check_direction("w", in_.w, GuardedArray<double>(out_.dw));
    check_direction("scale", in_.scale, GuardedArray<double>(out_.sum_dzx));
    check_direction("shift", in_.shift, GuardedArray<double>(out_.sum_dz));
  }

 private:
  int segments() const { return static_cast<int>(test_.offsets.size()) - 1; }
  size_t bytes(ConvPass pass) const {
    return conv2d_workspace_bytes(ConvVariant::reference, pass, test_.problem, DType::f64,
                                  segments());
  }

  void check_direction(const char* name, GuardedArray<double>& parameter,
                       const GuardedArray<double>& gradient) {
    constexpr double kStep = 1e-6;
    const GuardedArray<double> direction = normal<double>(parameter.size(), 40);
    const GuardedArray<double> before = parameter;
    double loss_at[2];
    for (int side : {0, 1}) {
      for (int64_t i = 0; i < parameter.size(); ++i)
        parameter[i] = before[i] + (side ? kStep : -kStep) * direction[i];
      loss_at[side] = loss();
    }
    parameter = before;
    double expected = 0, scale = 0;
    for (int64_t i = 0; i < parameter.size(); ++i) {
      expected += gradient[i] * direction[i];
      scale += gradient[i] * gradient[i];
    }
    const double measured = (loss_at[1] - loss_at[0]) / (2 * kStep);
    EXPECT_NEAR(measured, expected, 1e-6 * std::sqrt(scale) + 1e-8 * std::abs(loss_at[0]))
        << "d loss / d " << name << " of " << test_.problem.to_string();
  }

  Case test_;
  Operands<double, double> in_;
  Results<double, double> out_;
  GuardedArray<double> alpha_, beta_;
  GuardedArray<std::byte> workspace_;
};

TEST(Conv2d, GradientsMatchFiniteDifferences) {
  for (const Case& test : kCases) FiniteDifferences(test).check();
}

TEST(Conv2d, NaNIsNotHidden) {
  const Case test{{1, 4, 4, 16, 16, 3, 3, 1, 1, 16, 16}, {0, 1}};
  for (ConvVariant variant : kVariants) {
    if (!supported(variant, test.problem, DType::f32)) continue;
    Operands<float, float> in(test);
    Results<float, float> out(test);
    in.x[5 * 16 + 3] = std::numeric_limits<float>::quiet_NaN();
    GuardedArray<std::byte> workspace(
        conv2d_workspace_bytes(variant, ConvPass::fprop, test.problem, DType::f32, 1));
    conv2d_fprop<float>(variant, test.problem, fprop_arguments(test, in, out), workspace.span());
    EXPECT_TRUE(std::isnan(out.y[0])) << name_of(variant);
    EXPECT_FALSE(std::isnan(out.y[15 * 16])) << name_of(variant);
    EXPECT_TRUE(std::isnan(out.mean[0]) && std::isnan(out.variance[0])) << name_of(variant);
  }
}

TEST(Conv2d, GradientOfTheOutputMayBeRewrittenInPlace) {
  const Case test{{3, 6, 6, 24, 32, 3, 3, 1, 1, 24, 32}, {0, 1, 3}};
  for (ConvVariant variant : kVariants) {
    if (!supported(variant, test.problem, DType::f32)) continue;
    Operands<float, float> in(test);
    Results<float, float> apart(test), in_place(test);
    GuardedArray<std::byte> workspace(
        conv2d_workspace_bytes(variant, ConvPass::dgrad, test.problem, DType::f32, 2));
    conv2d_dgrad<float, float>(variant, test.problem, dgrad_arguments(test, in, apart),
                               workspace.span());
    ConvDgrad<float, float> args = dgrad_arguments(test, in, in_place);
    args.g_out = in.dy.data();
    conv2d_dgrad<float, float>(variant, test.problem, args, workspace.span());
    EXPECT_TRUE(in_place.dx == apart.dx) << name_of(variant);
    EXPECT_TRUE(in.dy == apart.g_out) << name_of(variant);
  }
}

// Root mean square of got - truth, over that of truth.
double rms_error(GuardedArray<float>& got, GuardedArray<double>& truth) {
  double difference = 0, square = 0;
  for (int64_t i = 0; i < truth.size(); ++i) {
    difference += (got[i] - truth[i]) * (got[i] - truth[i]);
    square += truth[i] * truth[i];
  }
  return std::sqrt(difference / square);
}

// Deep networks multiply the rounding errors of the sums that they propagate: blocks, added up
// afterwards, keep these far below the errors of one long chain of floats.
TEST(Conv2d, LongSumsAreBlocked) {
  for (const Case& test : {Case{{1, 5, 5, 2048, 40, 1, 1, 1, 0}, {0, 1}, false, false},
                           Case{{1, 5, 5, 512, 40, 3, 3, 1, 1}, {0, 1}, false, false},
                           Case{{1, 5, 5, 40, 2048, 1, 1, 1, 0}, {0, 1}, false, false},
                           Case{{1, 5, 5, 40, 512, 3, 3, 1, 1}, {0, 1}, false, false}}) {
    Case packed = test;
    packed.problem.ldx = test.problem.C, packed.problem.ldy = test.problem.K;
    const ConvProblem& p = packed.problem;
    const bool backward = p.K > p.C;  // dgrad sums over K
    const ConvPass pass = backward ? ConvPass::dgrad : ConvPass::fprop;
    const auto sum = [&]<class T>(Results<T, T> out) {
      Operands<T, T> in(packed);
      backward ? oracle_dgrad<T, T>(p, dgrad_arguments(packed, in, out))
               : oracle_fprop<T>(p, fprop_arguments(packed, in, out));
      return backward ? out.dx : out.y;
    };
    GuardedArray<double> truth = sum(Results<double, double>(packed));
    GuardedArray<float> chain = sum(Results<float, float>(packed));
    const double allowed = rms_error(chain, truth) / 2;

    std::vector<ConvVariant> blocked = {ConvVariant::reference};
    if (supported(ConvVariant::implicit_gemm, p, DType::f32)) {
      blocked.push_back(ConvVariant::implicit_gemm);
      blocked.push_back(conv2d_choose(pass, p, DType::f32));
    }
    for (ConvVariant variant : blocked) {
      Results<float, float> out = run<float, float>(variant, packed);
      EXPECT_LE(rms_error(backward ? out.dx : out.y, truth), allowed)
          << name_of(variant) << (backward ? " dgrad " : " fprop ") << p.to_string();
    }
  }
}

TEST(Conv2d, RejectsWhatCannotBe) {
  const Case test{{1, 4, 4, 16, 16, 3, 3, 1, 1, 16, 16}, {0, 1}};
  Operands<float, float> in(test);
  Results<float, float> out(test);
  ConvFprop<float> args = fprop_arguments(test, in, out);
  std::vector<std::byte> workspace(16);
  EXPECT_THROW(conv2d_fprop<float>(ConvVariant::reference, test.problem, args, workspace), Error);
  workspace.resize(1 << 20);
  ConvProblem bad = test.problem;
  bad.ldx = 8;
  EXPECT_THROW(conv2d_fprop<float>(ConvVariant::reference, bad, args, workspace), Error);
  args.segments.count = 0;
  EXPECT_THROW(conv2d_fprop<float>(ConvVariant::reference, test.problem, args, workspace), Error);
}

}  // namespace
}  // namespace mono
