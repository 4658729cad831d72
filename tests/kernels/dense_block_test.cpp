#include "kernels/dense_block/dense_block.h"

#include "kernels/batch_norm/batch_norm.h"
#include "kernels/elementwise/elementwise.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

struct Case {
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

std::vector<Case> cases() {
  std::vector<Case> list;
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
struct Data {
  using M = Master<T>;
  struct Layer {
    std::vector<M> gamma1, beta1, w1, gamma2, beta2, w2, mean1, variance1, mean2, variance2;
  };
  std::vector<Layer> layers;
  std::vector<T> x, dX;

  explicit Data(const Case& c) {
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
struct Result {
  using M = Master<T>;
  std::vector<T> X;
  std::vector<M> mean, variance, dx;  // (segments, C_total); (pixels, C0)
  std::vector<std::vector<M>> dgamma1, dbeta1, dw1, dgamma2, dbeta2, dw2;  // per layer

  template <class F>
  static void compare(const Result& a, const Result<double>& b, F&& f) {
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
class Unfused {
  using M = Master<T>;

 public:
  Unfused(const Case& c, const Data<T>& d) : c_(c), p_(c.problem), d_(d) {}

  Result<T> run() {
    const int total = p_.C_total(), S = c_.segments().count;
    Result<T> out;
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

  const Case& c_;
  const DenseBlockProblem& p_;
  const Data<T>& d_;
};

// ---- The operation under test -------------------------------------------------------------------

template <class T>
Result<T> fused(ConvVariant variant, const Case& c, const Data<T>& d,
                GradMode mode = GradMode::overwrite) {
  using M = Master<T>;
  const DenseBlockProblem& p = c.problem;
  const int S = c.segments().count, total = p.C_total();
  Guarded<T> X(c.pixels() * total), y1(p.layers * c.pixels() * p.bottleneck);
  Guarded<M> D(c.pixels() * total), mean(S * total), variance(S * total);
  Guarded<M> mean2(p.layers * S * p.bottleneck), variance2(p.layers * S * p.bottleneck);
  copy_channels(c.pixels(), p.C0, d.x.data(), p.C0, X.data(), total, GradMode::overwrite);
  convert(D.size(), d.dX.data(), D.data());

  std::vector<DenseBlockLayer<T>> layers(p.layers);
  std::vector<DenseBlockGrads<T>> grads(p.layers);
  Result<T> out;
  for (int l = 0; l < p.layers; ++l) {
    const auto& from = d.layers[l];
    auto& to = layers[l];
    to.gamma1 = from.gamma1.data();
    to.beta1 = from.beta1.data();
    to.w1 = from.w1.data();
    to.gamma2 = from.gamma2.data();
    to.beta2 = from.beta2.data();
    to.w2 = from.w2.data();
    to.y1 = y1.data() + l * c.pixels() * p.bottleneck;
    to.mean2 = mean2.data() + l * S * p.bottleneck;
    to.variance2 = variance2.data() + l * S * p.bottleneck;
    if (!p.batch_statistics) {
      to.mean1 = from.mean1.data();
      to.variance1 = from.variance1.data();
      std::copy(from.mean2.begin(), from.mean2.end(), to.mean2);
      std::copy(from.variance2.begin(), from.variance2.end(), to.variance2);
    }
    out.dgamma1.emplace_back(from.gamma1.size(), M(1));
    out.dbeta1.emplace_back(from.beta1.size(), M(1));
    out.dw1.emplace_back(from.w1.size(), M(1));
    out.dgamma2.emplace_back(from.gamma2.size(), M(1));
    out.dbeta2.emplace_back(from.beta2.size(), M(1));
    out.dw2.emplace_back(from.w2.size(), M(1));
    grads[l] = {out.dgamma1[l].data(), out.dbeta1[l].data(), out.dw1[l].data(),
                out.dgamma2[l].data(), out.dbeta2[l].data(), out.dw2[l].data()};
  }

  DenseBlockForward<T> forward;
  forward.X = X.data();
  forward.layers = layers;
  forward.segments = c.segments();
  DenseBlockBackward<T> backward;
  if (p.batch_statistics) {
    BatchNormProblem input{.N = p.N, .H = p.H, .W = p.W, .C = p.C0, .ldx = total};
    Scratch scratch(batch_norm_workspace_bytes(input, kDTypeOf<T>, S));
    batch_norm_moments(input, X.data(), c.segments(), mean.data(), variance.data(), total,
                       scratch.span());
    forward.mean = mean.data();
    forward.variance = variance.data();
    backward.mean = mean.data();
    backward.variance = variance.data();
  }
  {
    Scratch scratch(dense_block_workspace_bytes(variant, p, kDTypeOf<T>, S, false));
    dense_block_forward(variant, p, forward, scratch.span());
  }
  std::vector<int> order;
  backward.X = X.data();
  backward.layers = layers;
  backward.grads = grads;
  backward.grad_mode = mode;
  backward.D = D.data();
  backward.segments = c.segments();
  backward.layer_done = [](void* context, int layer) {
    static_cast<std::vector<int>*>(context)->push_back(layer);
  };
  backward.layer_done_context = &order;
  Scratch scratch(dense_block_workspace_bytes(variant, p, kDTypeOf<T>, S, true));
  dense_block_backward(variant, p, backward, scratch.span());

  for (int l = 0; l < p.layers; ++l) EXPECT_EQ(order.at(l), p.layers - 1 - l);
  EXPECT_EQ(static_cast<int>(order.size()), p.layers);
  out.X = X.copy();
  out.mean = mean.copy();
  out.variance = variance.copy();
  out.dx.resize(c.pixels() * p.C0);
  copy_channels(c.pixels(), p.C0, D.data(), total, out.dx.data(), p.C0, GradMode::overwrite);
  return out;
}

double rms_error(const std::vector<double>& got, const std::vector<double>& want) {
  double error = 0, scale = 1e-300;
  for (size_t i = 0; i < want.size(); ++i) {
    error += (got[i] - want[i]) * (got[i] - want[i]);
    scale += want[i] * want[i];
  }
  return std::sqrt(error / scale);
}

TEST(DenseBlock, EqualsTheUnfusedCompositionInF64) {
  for (const Case& c : cases()) {
    SCOPED_TRACE(c.name());
    const Data<double> d(c);
    const Result<double> want = Unfused<double>(c, d).run();
    Result<double>::compare(fused(ConvVariant::reference, c, d), want,
                            [](const char* what, const auto& a, const auto& b) {
                              EXPECT_LE(error_of(a, b), 1e-10) << what;
                            });
  }
}

// Central differences of sum(X * dX), over the input and every parameter.
TEST(DenseBlock, GradientsMatchFiniteDifferences) {
  for (bool batch : {true, false}) {
    const Case c{{.N = 3,
                  .H = 3,
                  .W = 2,
                  .C0 = 3,
                  .growth = 2,
                  .bottleneck = 4,
                  .layers = 2,
                  .batch_statistics = batch},
                 {0, 2, 3}};
    Data<double> d(c);
    const Result<double> at = fused(ConvVariant::reference, c, d);
    const auto loss = [&] {
      const Result<double> now = fused(ConvVariant::reference, c, d);
      double sum = 0;
      for (size_t i = 0; i < now.X.size(); ++i) sum += now.X[i] * d.dX[i];
      return sum;
    };
    const auto check = [&](const char* what, std::vector<double>& values,
                           const std::vector<double>& gradient) {
      for (size_t i = 0; i < values.size(); ++i) {
        const double h = 1e-6, before = values[i];
        values[i] = before + h;
        const double up = loss();
        values[i] = before - h;
        const double down = loss();
        values[i] = before;
        EXPECT_NEAR((up - down) / (2 * h), gradient[i], 1e-6 * (1 + std::abs(gradient[i])))
            << what << " " << i;
      }
    };
    check("x", d.x, at.dx);
    for (int l = 0; l < c.problem.layers; ++l) {
      check("gamma1", d.layers[l].gamma1, at.dgamma1[l]);
      check("beta1", d.layers[l].beta1, at.dbeta1[l]);
      check("w1", d.layers[l].w1, at.dw1[l]);
      check("gamma2", d.layers[l].gamma2, at.dgamma2[l]);
      check("beta2", d.layers[l].beta2, at.dbeta2[l]);
      check("w2", d.layers[l].w2, at.dw2[l]);
    }
  }
}

// Every variant that runs here, against f64: a root mean square error of at most twice that of the
// unfused composition of reference kernels in the same dtype.
template <class T>
class DenseBlockVariants : public ::testing::Test {};
using HalfAndSingle = ::testing::Types<float, bf16>;
TYPED_TEST_SUITE(DenseBlockVariants, HalfAndSingle);

TYPED_TEST(DenseBlockVariants, AreAsExactAsTheUnfusedComposition) {
  using T = TypeParam;
  for (const Case& c : cases())
    for (ConvVariant variant :
         {ConvVariant::reference, ConvVariant::onednn, ConvVariant::implicit_gemm}) {
      if (!dense_block_supports(variant, c.problem, kDTypeOf<T>)) continue;
      // One channel and a batch norm behind it: dw1 is zero but for eps, and has no scale.
      if (c.problem.C0 == 1) continue;
      SCOPED_TRACE(fmt::format("{} {}", name_of(variant), c.name()));
      const Data<T> d(c);
      const Result<double> want = Unfused<double>(c, Data<double>(c)).run();
      const Result<T> plain = Unfused<T>(c, d).run();
      std::vector<double> allowed;
      Result<T>::compare(plain, want, [&](const char*, const auto& a, const auto& b) {
        allowed.push_back(2 * rms_error(a, b) + (kDTypeOf<T> == DType::f32 ? 1e-6 : 4e-3));
      });
      size_t i = 0;
      Result<T>::compare(fused(variant, c, d), want,
                         [&](const char* what, const auto& a, const auto& b) {
                           EXPECT_LE(rms_error(a, b), allowed[i++]) << what;
                         });
    }
}

TEST(DenseBlock, AccumulatesParameterGradients) {
  const Case c = cases()[1];
  const Data<double> d(c);
  const Result<double> once = fused(ConvVariant::reference, c, d);
  const Result<double> added = fused(ConvVariant::reference, c, d, GradMode::accumulate);
  EXPECT_TRUE(same_bits(once.dx, added.dx));
  for (int l = 0; l < c.problem.layers; ++l)
    for (auto [a, b] : {std::pair{&once.dw1, &added.dw1},
                        {&once.dw2, &added.dw2},
                        {&once.dgamma1, &added.dgamma1},
                        {&once.dbeta1, &added.dbeta1},
                        {&once.dgamma2, &added.dgamma2},
                        {&once.dbeta2, &added.dbeta2}})
      for (size_t i = 0; i < (*a)[l].size(); ++i)
        ASSERT_NEAR((*a)[l][i] + 1.0, (*b)[l][i], 1e-12);  // they held ones
}

template <class T>
class DenseBlockTyped : public ::testing::Test {};
TYPED_TEST_SUITE(DenseBlockTyped, ActivationTypes);

TYPED_TEST(DenseBlockTyped, AnyNumberOfThreadsGivesTheSameBits) {
  using T = TypeParam;
  const Case c{{.N = 5, .H = 9, .W = 8, .C0 = 24, .growth = 8, .bottleneck = 32, .layers = 3},
               {0, 2, 5}};
  const Data<T> d(c);
  for (ConvVariant variant :
       {ConvVariant::reference, ConvVariant::onednn, ConvVariant::implicit_gemm}) {
    if (!dense_block_supports(variant, c.problem, kDTypeOf<T>)) continue;
    SCOPED_TRACE(name_of(variant));
    same_for_any_threads([&] {
      const Result<T> out = fused(variant, c, d);
      std::vector<double> all = convert_to<double>(out.X);
      const auto add = [&](const auto& values) {
        for (auto v : values) all.push_back(v);
      };
      add(out.dx);
      add(out.mean);
      add(out.variance);
      for (const auto* list :
           {&out.dgamma1, &out.dbeta1, &out.dw1, &out.dgamma2, &out.dbeta2, &out.dw2})
        for (const auto& values : *list) add(values);
      return all;
    });
  }
}

TEST(DenseBlockErrors, TooSmallAWorkspaceIsRefused) {
  const Case c = cases()[0];
  std::vector<DenseBlockLayer<float>> layers(1);
  DenseBlockForward<float> args;
  args.layers = layers;
  args.segments = c.segments();
  EXPECT_THROW(dense_block_forward<float>(ConvVariant::reference, c.problem, args, {}), Error);
  EXPECT_EQ(dense_block_choose(c.problem, DType::f64), ConvVariant::reference);
}

}  // namespace
}  // namespace mono
