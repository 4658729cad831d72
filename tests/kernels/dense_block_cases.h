// Dense blocks for tests: problems, data, the block as layer upon layer, and one way to run the
// operation on either device.
#pragma once

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/dense_block/dense_block.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/kernels/op_test.h"

namespace mono::test {

struct DenseBlockCase {
  DenseBlockProblem problem;
  std::vector<int> offsets;

  Segments segments() const { return {static_cast<int>(offsets.size()) - 1, offsets.data()}; }
  int64_t pixels() const { return int64_t{problem.N} * problem.H * problem.W; }
  std::string name() const {
    const auto& p = problem;
    return fmt::format("n{} h{}w{} c{} g{} b{} layers{} segments{} batch_statistics{}", p.N, p.H,
                       p.W, p.C0, p.growth, p.bottleneck, p.layers, segments().count,
                       p.batch_statistics);
  }
};

inline std::vector<DenseBlockCase> dense_block_cases() {
  std::vector<DenseBlockCase> list;
  for (bool batch : {true, false}) {
    list.push_back({{.N = 1,
                     .H = 3,
                     .W = 4,
                     .C0 = 1,
                     .growth = 1,
                     .bottleneck = 4,
                     .layers = 1,
                     .batch_statistics = batch},
                    {0, 1}});
    list.push_back({{.N = 6,
                     .H = 5,
                     .W = 4,
                     .C0 = 7,
                     .growth = 3,
                     .bottleneck = 12,
                     .layers = 4,
                     .batch_statistics = batch},
                    {0, 1, 4, 6}});
    list.push_back({{.N = 3,
                     .H = 7,
                     .W = 7,
                     .C0 = 33,
                     .growth = 16,
                     .bottleneck = 32,
                     .layers = 3,
                     .batch_statistics = batch},
                    {0, 2, 3}});
  }
  return list;
}

// Parameters, input and output gradient; given statistics.
template <class T>
struct DenseBlockData {
  using M = Master<T>;
  struct Layer {
    std::vector<M> gamma1, beta1, w1, gamma2, beta2, w2, mean1, variance1, mean2, variance2;
  };
  std::vector<Layer> layers;
  std::vector<T> x, dX;

  explicit DenseBlockData(const DenseBlockCase& c) {
    const DenseBlockProblem& p = c.problem;
    const int S = c.segments().count, B = p.bottleneck, g = p.growth;
    x = convert_to<T>(normal_values<bf16>(c.pixels() * p.C0, 1, 0.5, 1.5));
    dX = convert_to<T>(normal_values<bf16>(c.pixels() * p.C_total(), 2));
    for (int l = 0; l < p.layers; ++l) {
      const int C = p.C_in(l);
      uint32_t stream = 100 * (l + 1);
      // Values that every type holds exactly, so that a difference is the arithmetic's.
      const auto values = [&](int64_t n, double mean, double std) {
        return convert_to<M>(normal_values<bf16>(n, stream++, mean, std));
      };
      Layer layer;
      layer.gamma1 = values(C, 1, 0.3);
      layer.beta1 = values(C, 0, 0.3);
      layer.w1 = values(B * C, 0, 1 / std::sqrt(C));
      layer.gamma2 = values(B, 1, 0.3);
      layer.beta2 = values(B, 0, 0.3);
      layer.w2 = values(g * 9 * B, 0, 1 / std::sqrt(9.0 * B));
      layer.mean1 = values(S * C, 0.2, 0.1);
      layer.variance1 = values(S * C, 1.5, 0.1);
      layer.mean2 = values(S * B, 0.2, 0.1);
      layer.variance2 = values(S * B, 1.5, 0.1);
      layers.push_back(layer);
    }
  }
};

// All that the block gives, by name.
template <class T>
struct DenseBlockResult {
  using M = Master<T>;
  std::vector<T> X;
  std::vector<M> mean, variance, dx;  // (segments, C_total); (pixels, C0)
  std::vector<std::vector<M>> dgamma1, dbeta1, dw1, dgamma2, dbeta2, dw2;  // per layer

  template <class F>
  static void compare(const DenseBlockResult& a, const DenseBlockResult<double>& b, F&& f) {
    f("X", convert_to<double>(a.X), b.X);
    f("mean", convert_to<double>(a.mean), b.mean);
    f("variance", convert_to<double>(a.variance), b.variance);
    f("dx", convert_to<double>(a.dx), b.dx);
    for (size_t l = 0; l < a.dw1.size(); ++l) {
      SCOPED_TRACE(fmt::format("layer {}", l));
      f("dgamma1", convert_to<double>(a.dgamma1[l]), b.dgamma1[l]);
      f("dbeta1", convert_to<double>(a.dbeta1[l]), b.dbeta1[l]);
      f("dw1", convert_to<double>(a.dw1[l]), b.dw1[l]);
      f("dgamma2", convert_to<double>(a.dgamma2[l]), b.dgamma2[l]);
      f("dbeta2", convert_to<double>(a.dbeta2[l]), b.dbeta2[l]);
      f("dw2", convert_to<double>(a.dw2[l]), b.dw2[l]);
    }
  }
};

// ---- The block as layer upon layer: copies, batch norms and plain convolutions ------------------

template <class T>
class UnfusedDenseBlock {
  using M = Master<T>;

 public:
  UnfusedDenseBlock(const DenseBlockCase& c, const DenseBlockData<T>& d)
      : c_(c), p_(c.problem), d_(d) {}

  DenseBlockResult<T> run() {
    const int total = p_.C_total(), S = c_.segments().count;
    DenseBlockResult<T> out;
    out.X.assign(c_.pixels() * total, T(0));
    copy_channels(c_.pixels(), p_.C0, d_.x.data(), p_.C0, out.X.data(), total, GradMode::overwrite);
    std::vector<Norm> norm1, norm2;
    std::vector<std::vector<T>> z1s, y1s, z2s;
    for (int l = 0; l < p_.layers; ++l) {
      const int C = p_.C_in(l);
      const auto& layer = d_.layers[l];
      std::vector<T> x(c_.pixels() * C), y1(c_.pixels() * p_.bottleneck),
          slice(c_.pixels() * p_.growth);
      copy_channels(c_.pixels(), C, out.X.data(), total, x.data(), C, GradMode::overwrite);
      norm1.push_back({x, C, layer.gamma1, layer.beta1, layer.mean1, layer.variance1});
      z1s.push_back(forward(norm1.back()));
      fprop(conv1(C), z1s.back(), layer.w1, y1);
      norm2.push_back({y1, p_.bottleneck, layer.gamma2, layer.beta2, layer.mean2, layer.variance2});
      z2s.push_back(forward(norm2.back()));
      fprop(conv2(), z2s.back(), layer.w2, slice);
      copy_channels(c_.pixels(), p_.growth, slice.data(), p_.growth, out.X.data() + C, total,
                    GradMode::overwrite);
    }
    Norm all{out.X, total, {}, {}, {}, {}};
    out.mean.assign(S * total, 0);
    out.variance.assign(S * total, 0);
    if (p_.batch_statistics) {
      moments(all);
      out.mean = all.mean;
      out.variance = all.variance;
    }

    std::vector<T> G = d_.dX;
    for (auto* list : {&out.dgamma1, &out.dbeta1, &out.dw1, &out.dgamma2, &out.dbeta2, &out.dw2})
      list->resize(p_.layers);
    for (int l = p_.layers - 1; l >= 0; --l) {
      const int C = p_.C_in(l);
      const auto& layer = d_.layers[l];
      std::vector<T> slice(c_.pixels() * p_.growth), dz2(c_.pixels() * p_.bottleneck),
          dy1 = dz2, dz1(c_.pixels() * C), dx = dz1;
      copy_channels(c_.pixels(), p_.growth, G.data() + C, total, slice.data(), p_.growth,
                    GradMode::overwrite);
      dgrad(conv2(), slice, layer.w2, dz2);
      wgrad(conv2(), z2s[l], slice, out.dw2[l]);
      backward(norm2[l], dz2, dy1, out.dgamma2[l], out.dbeta2[l]);
      dgrad(conv1(C), dy1, layer.w1, dz1);
      wgrad(conv1(C), z1s[l], dy1, out.dw1[l]);
      backward(norm1[l], dz1, dx, out.dgamma1[l], out.dbeta1[l]);
      copy_channels(c_.pixels(), C, dx.data(), C, G.data(), total, GradMode::accumulate);
    }
    out.dx.assign(c_.pixels() * p_.C0, 0);
    copy_channels(c_.pixels(), p_.C0, G.data(), total, out.dx.data(), p_.C0, GradMode::overwrite);
    return out;
  }

 private:
  struct Norm {
    std::vector<T> x;
    int C;
    std::vector<M> gamma, beta, mean, variance;
  };

  BatchNormProblem problem(const Norm& norm) const {
    BatchNormProblem p{.N = p_.N, .H = p_.H, .W = p_.W, .C = norm.C};
    p.batch_statistics = p_.batch_statistics;
    return p;
  }
  ConvProblem conv1(int C) const {
    return {.N = p_.N, .H = p_.H, .W = p_.W, .C = C, .K = p_.bottleneck, .R = 1, .S = 1};
  }
  ConvProblem conv2() const {
    return {.N = p_.N,
            .H = p_.H,
            .W = p_.W,
            .C = p_.bottleneck,
            .K = p_.growth,
            .R = 3,
            .S = 3,
            .pad = 1};
  }

  void moments(Norm& norm) {
    const int S = c_.segments().count;
    norm.mean.resize(S * norm.C);
    norm.variance.resize(S * norm.C);
    Scratch scratch(batch_norm_workspace_bytes(problem(norm), kDTypeOf<T>, S));
    batch_norm_moments(problem(norm), norm.x.data(), c_.segments(), norm.mean.data(),
                       norm.variance.data(), 0, scratch.span());
  }
  std::vector<T> forward(Norm& norm) {
    const int S = c_.segments().count;
    if (p_.batch_statistics) moments(norm);
    std::vector<M> scale(S * norm.C), shift(S * norm.C);
    batch_norm_fold(S, norm.C, p_.eps, norm.gamma.data(), norm.beta.data(), norm.mean.data(),
                    norm.variance.data(), 0, scale.data(), shift.data());
    std::vector<T> z(norm.x.size());
    batch_norm_apply<T>(problem(norm), norm.x.data(), c_.segments(), scale.data(), shift.data(),
                        nullptr, z.data());
    return z;
  }
  void backward(const Norm& norm, const std::vector<T>& dy, std::vector<T>& dx,
                std::vector<M>& dgamma, std::vector<M>& dbeta) {
    dgamma.resize(norm.C);
    dbeta.resize(norm.C);
    Scratch scratch(batch_norm_workspace_bytes(problem(norm), kDTypeOf<T>, c_.segments().count));
    BatchNormBackward<T> args;
    args.dy = dy.data();
    args.x = norm.x.data();
    args.gamma = norm.gamma.data();
    args.beta = norm.beta.data();
    args.mean = norm.mean.data();
    args.variance = norm.variance.data();
    args.dgamma = dgamma.data();
    args.dbeta = dbeta.data();
    args.dx = dx.data();
    args.segments = c_.segments();
    batch_norm_backward(problem(norm), args, scratch.span());
  }

  Scratch scratch(ConvPass pass, const ConvProblem& conv) const {
    return Scratch(conv2d_workspace_bytes(ConvVariant::reference, pass, conv, kDTypeOf<T>,
                                          c_.segments().count));
  }
  void fprop(const ConvProblem& conv, const std::vector<T>& x, const std::vector<M>& w,
             std::vector<T>& y) {
    ConvFprop<T> args;
    args.x = x.data();
    args.w = w.data();
    args.y = y.data();
    args.segments = c_.segments();
    conv2d_fprop(ConvVariant::reference, conv, args, scratch(ConvPass::fprop, conv).span());
  }
  void dgrad(const ConvProblem& conv, const std::vector<T>& dy, const std::vector<M>& w,
             std::vector<T>& dx) {
    ConvDgrad<T, T> args;
    args.dy = dy.data();
    args.w = w.data();
    args.dx = dx.data();
    args.segments = c_.segments();
    conv2d_dgrad(ConvVariant::reference, conv, args, scratch(ConvPass::dgrad, conv).span());
  }
  void wgrad(const ConvProblem& conv, const std::vector<T>& x, const std::vector<T>& g,
             std::vector<M>& dw) {
    dw.resize(int64_t{conv.K} * conv.R * conv.S * conv.C);
    ConvWgrad<T> args;
    args.x = x.data();
    args.g = g.data();
    args.dw = dw.data();
    args.segments = c_.segments();
    conv2d_wgrad(ConvVariant::reference, conv, args, scratch(ConvPass::wgrad, conv).span());
  }

  const DenseBlockCase& c_;
  const DenseBlockProblem& p_;
  const DenseBlockData<T>& d_;
};

// ---- The operation under test -------------------------------------------------------------------

// An array of the CPU with the interface of GpuArray.
template <class T>
class CpuArray {
 public:
  CpuArray(Stream, int64_t n) : values_(n) {}
  CpuArray(Stream, const std::vector<T>& values) : values_(static_cast<int64_t>(values.size())) {
    std::copy(values.begin(), values.end(), values_.data());
  }
  T* data() const { return const_cast<Guarded<T>&>(values_).data(); }
  std::vector<T> host() const { return values_.copy(); }

 private:
  Guarded<T> values_;
};

// Forward and backward on the stream's device, in arrays of that device.
template <class T, template <class> class Array>
DenseBlockResult<T> fused_dense_block(Stream stream, ConvVariant variant, const DenseBlockCase& c,
                                      const DenseBlockData<T>& d,
                                      GradMode mode = GradMode::overwrite) {
  using M = Master<T>;
  const DenseBlockProblem& p = c.problem;
  const int S = c.segments().count, total = p.C_total(), B = p.bottleneck;
  std::vector<T> host_X(c.pixels() * total);
  std::vector<M> host_D(host_X.size()), host_mean(S * total), host_variance(S * total);
  copy_channels(c.pixels(), p.C0, d.x.data(), p.C0, host_X.data(), total, GradMode::overwrite);
  convert(static_cast<int64_t>(host_D.size()), d.dX.data(), host_D.data());
  if (p.batch_statistics) {
    BatchNormProblem input{.N = p.N, .H = p.H, .W = p.W, .C = p.C0, .ldx = total};
    Scratch scratch(batch_norm_workspace_bytes(input, kDTypeOf<T>, S));
    batch_norm_moments(input, host_X.data(), c.segments(), host_mean.data(), host_variance.data(),
                       total, scratch.span());
  }
  const Array<T> X(stream, host_X);
  const Array<M> D(stream, host_D), mean(stream, host_mean), variance(stream, host_variance);
  const Array<int> offsets(stream, c.offsets);
  Segments segments = c.segments();
  segments.gpu_offsets = offsets.data();

  struct Layer {
    Array<M> gamma1, beta1, w1, gamma2, beta2, w2, mean1, variance1, mean2, variance2;
    Array<T> y1;
    Array<M> dgamma1, dbeta1, dw1, dgamma2, dbeta2, dw2;
  };
  std::vector<Layer> arrays;
  std::vector<DenseBlockLayer<T>> layers;
  std::vector<DenseBlockGrads<T>> grads;
  arrays.reserve(p.layers);
  for (const auto& from : d.layers) {
    const auto to = [&](const std::vector<M>& values) { return Array<M>(stream, values); };
    const auto ones = [&](const std::vector<M>& like) {
      return Array<M>(stream, std::vector<M>(like.size(), M(1)));
    };
    const std::vector<M> none(S * B);
    const bool given = !p.batch_statistics;
    arrays.push_back(Layer{to(from.gamma1), to(from.beta1), to(from.w1), to(from.gamma2),
                           to(from.beta2), to(from.w2), to(from.mean1), to(from.variance1),
                           to(given ? from.mean2 : none), to(given ? from.variance2 : none),
                           Array<T>(stream, c.pixels() * B), ones(from.gamma1), ones(from.beta1),
                           ones(from.w1), ones(from.gamma2), ones(from.beta2), ones(from.w2)});
    const Layer& l = arrays.back();
    layers.push_back({.gamma1 = l.gamma1.data(),
                      .beta1 = l.beta1.data(),
                      .w1 = l.w1.data(),
                      .gamma2 = l.gamma2.data(),
                      .beta2 = l.beta2.data(),
                      .w2 = l.w2.data(),
                      .y1 = l.y1.data(),
                      .mean2 = l.mean2.data(),
                      .variance2 = l.variance2.data(),
                      .mean1 = given ? l.mean1.data() : nullptr,
                      .variance1 = given ? l.variance1.data() : nullptr});
    grads.push_back({l.dgamma1.data(), l.dbeta1.data(), l.dw1.data(), l.dgamma2.data(),
                     l.dbeta2.data(), l.dw2.data()});
  }
  M* const table = p.batch_statistics ? mean.data() : nullptr;
  M* const variances = p.batch_statistics ? variance.data() : nullptr;
  const auto scratch = [&](bool backward) {
    return Array<std::byte>(stream, static_cast<int64_t>(dense_block_workspace_bytes(
                                        variant, p, kDTypeOf<T>, S, backward)));
  };
  const auto span_of = [](const Array<std::byte>& array) {
    return std::span<std::byte>(array.data(), array.host().size());
  };
  const Array<std::byte> scratch1 = scratch(false), scratch2 = scratch(true);
  dense_block_forward<T>(
      stream, variant, p,
      {.X = X.data(), .mean = table, .variance = variances, .layers = layers, .segments = segments},
      span_of(scratch1));
  std::vector<int> order;
  dense_block_backward<T>(
      stream, variant, p,
      {.X = X.data(),
       .mean = table,
       .variance = variances,
       .layers = layers,
       .grads = grads,
       .grad_mode = mode,
       .D = D.data(),
       .segments = segments,
       .layer_done = [](void* context,
                        int layer) { static_cast<std::vector<int>*>(context)->push_back(layer); },
       .layer_done_context = &order},
      span_of(scratch2));
  EXPECT_EQ(static_cast<int>(order.size()), p.layers);
  for (int l = 0; l < p.layers; ++l) EXPECT_EQ(order.at(l), p.layers - 1 - l);

  DenseBlockResult<T> out;
  out.X = X.host();
  out.mean = mean.host();
  out.variance = variance.host();
  out.dx.resize(c.pixels() * p.C0);
  copy_channels(c.pixels(), p.C0, D.host().data(), total, out.dx.data(), p.C0, GradMode::overwrite);
  for (const Layer& l : arrays) {
    out.dgamma1.push_back(l.dgamma1.host());
    out.dbeta1.push_back(l.dbeta1.host());
    out.dw1.push_back(l.dw1.host());
    out.dgamma2.push_back(l.dgamma2.host());
    out.dbeta2.push_back(l.dbeta2.host());
    out.dw2.push_back(l.dw2.host());
  }
  return out;
}

inline double rms_error(const std::vector<double>& got, const std::vector<double>& want) {
  double error = 0, scale = 1e-300;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    scale += want[i] * want[i];
  }
  return std::sqrt(error / scale);
}

// What the rule of errors allows: twice the root mean square error of the unfused composition of
// reference kernels in the same type, against f64; check(result) tests it.
template <class T>
class DenseBlockErrors {
 public:
  DenseBlockErrors(const DenseBlockCase& c, const DenseBlockData<T>& d)
      : want_(UnfusedDenseBlock<double>(c, DenseBlockData<double>(c)).run()) {
    DenseBlockResult<T>::compare(
        UnfusedDenseBlock<T>(c, d).run(), want_, [&](const char*, const auto& a, const auto& b) {
          allowed_.push_back(2 * rms_error(a, b) + (kDTypeOf<T> == DType::f32 ? 1e-6 : 4e-3));
        });
  }
  void check(const DenseBlockResult<T>& result) const {
    size_t i = 0;
    DenseBlockResult<T>::compare(result, want_,
                                 [&](const char* what, const auto& a, const auto& b) {
                                   EXPECT_LE(rms_error(a, b), allowed_[i++]) << what;
                                 });
  }

 private:
  DenseBlockResult<double> want_;
  std::vector<double> allowed_;
};

}  // namespace mono::test
