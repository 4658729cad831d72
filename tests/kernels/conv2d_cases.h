// The cases of the convolution tests, with their operands and the oracle: one list for the CPU's
// variants, the GPU's, and the gradient check.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <type_traits>
#include <vector>

#include "kernels/conv2d/conv2d.h"
#include "tests/kernels/kernel_test.h"

namespace mono::conv2d_test {

using namespace mono::test;

struct Case {
  ConvProblem problem;
  std::vector<int> offsets;  // of the segments
  bool prologue = true;      // scale, shift and ReLU on x; mask and sums in dgrad
  bool deferred = true;      // g = a*dy + b*y + c in dgrad
  bool accumulate = false;   // into dx and dw

  int segments() const { return static_cast<int>(offsets.size()) - 1; }
};

inline const std::vector<Case> kCases = {
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
    {{2, 13, 15, 6, 32, 7, 7, 2, 3, 8, 32}, {0, 1, 2}, true, false},
};

// Nobody may use what lies between the channels of a pitched image.
template <class T>
void poison_between(GuardedArray<T>& image, int channels, int ld) {
  for (int64_t i = 0; i < image.size(); ++i)
    if (i % ld >= channels) image[i] = T(std::numeric_limits<Master<T>>::quiet_NaN());
}

// Operands and results may also be those of a GPU (conv2d_gpu_test.cpp), under the same names.
//
// The operands of a case, representable in bf16 and so the same numbers in every type.
template <class T, class GradT>
struct Operands {
  using M = Master<T>;
  GuardedArray<T> x, y_saved;
  GuardedArray<M> w, scale, shift, mean, multiply, a, b, c;
  GuardedArray<GradT> dy;
  GuardedArray<T> g;

  static const int* gpu_offsets() { return nullptr; }

  explicit Operands(const Case& test) {
    const ConvProblem& p = test.problem;
    const int64_t segments = test.segments();
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
    poison_between(x, p.C, p.ldx);
    poison_between(y_saved, p.K, p.ldy);
    poison_between(dy, p.K, p.ldy);
    poison_between(g, p.K, p.ldy);
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
    const int64_t segments = test.segments();
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

template <class T, class GradT, template <class, class> class In, template <class, class> class Out>
ConvFprop<T> fprop_arguments(const Case& test, In<T, GradT>& in, Out<T, GradT>& out) {
  ConvFprop<T> args;
  args.x = in.x.data();
  args.w = in.w.data();
  args.y = out.y.data();
  if (test.prologue) args.prologue = {in.scale.data(), in.shift.data()};
  args.moments = {out.mean.data(), out.variance.data(), test.problem.K + 5};
  args.segments = {test.segments(), test.offsets.data(), in.gpu_offsets()};
  return args;
}

template <class T, class GradT, template <class, class> class In, template <class, class> class Out>
ConvDgrad<T, GradT> dgrad_arguments(const Case& test, In<T, GradT>& in, Out<T, GradT>& out) {
  ConvDgrad<T, GradT> args;
  args.dy = in.dy.data();
  args.w = in.w.data();
  if (test.deferred) {
    args.y = in.y_saved.data();
    args.a = in.a.data();
    args.b = in.b.data();
    args.c = in.c.data();
  }
  if (test.deferred || !std::is_same_v<T, GradT>) args.g_out = out.g_out.data();
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
  args.segments = {test.segments(), test.offsets.data(), in.gpu_offsets()};
  return args;
}

template <class T, class GradT, template <class, class> class In, template <class, class> class Out>
ConvWgrad<T> wgrad_arguments(const Case& test, In<T, GradT>& in, Out<T, GradT>& out) {
  ConvWgrad<T> args;
  args.x = in.x.data();
  if (test.prologue) args.prologue = {in.scale.data(), in.shift.data()};
  args.g = in.g.data();
  args.dw = out.dw.data();
  args.mode = test.accumulate ? GradMode::accumulate : GradMode::overwrite;
  args.segments = {test.segments(), test.offsets.data(), in.gpu_offsets()};
  return args;
}

inline bool supported(Device device, ConvVariant variant, const ConvProblem& p, DType dtype) {
  return conv2d_supports(device, variant, ConvPass::fprop, p, dtype) &&
         conv2d_supports(device, variant, ConvPass::dgrad, p, dtype) &&
         conv2d_supports(device, variant, ConvPass::wgrad, p, dtype);
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

inline int segment_at(const Segments& segments, int n) {
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

// All three passes on the CPU.
template <class T, class GradT>
Results<T, GradT> run(ConvVariant variant, const Case& test) {
  Operands<T, GradT> in(test);
  Results<T, GradT> out(test);
  const ConvProblem& p = test.problem;
  const int segments = test.segments();
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

// ---- long sums --------------------------------------------------------------------------------

// Deep networks multiply the rounding errors of the sums that they propagate: blocks, added up
// afterwards, keep these far below the errors of one long chain of floats.
inline const std::vector<Case> kLongSums = {
    {{1, 5, 5, 2048, 40, 1, 1, 1, 0, 2048, 40}, {0, 1}, false, false},
    {{1, 5, 5, 512, 40, 3, 3, 1, 1, 512, 40}, {0, 1}, false, false},
    {{1, 5, 5, 40, 2048, 1, 1, 1, 0, 40, 2048}, {0, 1}, false, false},
    {{1, 5, 5, 40, 512, 3, 3, 1, 1, 40, 512}, {0, 1}, false, false},
};

// The pass of a case with the long sums (dgrad sums over K), and its root mean square errors in
// f32.
class LongSum {
 public:
  explicit LongSum(const Case& test)
      : test_(test), truth_(sum<double>()), allowed_(error_of(sum<float>()) / 2) {}

  ConvPass pass() const { return backward() ? ConvPass::dgrad : ConvPass::fprop; }
  double allowed() const { return allowed_; }  // half of one chain's
  double error_of(const Results<float, float>& results) const {
    return error_of(backward() ? results.dx : results.y);
  }

 private:
  bool backward() const { return test_.problem.K > test_.problem.C; }
  template <class T>
  GuardedArray<T> sum() const {
    Operands<T, T> in(test_);
    Results<T, T> out(test_);
    backward() ? oracle_dgrad<T, T>(test_.problem, dgrad_arguments(test_, in, out))
               : oracle_fprop<T>(test_.problem, fprop_arguments(test_, in, out));
    return backward() ? out.dx : out.y;
  }
  double error_of(const GuardedArray<float>& got) const {
    double difference = 0, square = 0;
    for (int64_t i = 0; i < truth_.size(); ++i) {
      difference += (got[i] - truth_[i]) * (got[i] - truth_[i]);
      square += truth_[i] * truth_[i];
    }
    return std::sqrt(difference / square);
  }

  Case test_;
  GuardedArray<double> truth_;
  double allowed_;
};

}  // namespace mono::conv2d_test
