// Batch norm on the GPU against the CPU's, whose own test has the definition: statistics, outputs
// and gradients of both variants, in every type.
#include "kernels/batch_norm/batch_norm.h"
#include "tests/kernels/gpu_test.h"
#include "tests/kernels/op_test.h"

namespace mono {
namespace {

using namespace test;

struct Case {
  BatchNormProblem problem;
  std::vector<int> offsets;
  bool residual = false;

  int segments() const { return static_cast<int>(offsets.size()) - 1; }
  int64_t pixels() const { return int64_t{problem.N} * problem.H * problem.W; }
  int ldx() const { return problem.ldx ? problem.ldx : problem.C; }
  int ldy() const { return problem.ldy ? problem.ldy : problem.C; }
};

std::vector<Case> cases() {
  return {
      {{.N = 1, .H = 3, .W = 5, .C = 1}, {0, 1}},
      {{.N = 4, .H = 9, .W = 17, .C = 129, .relu = false}, {0, 1, 4}},  // units
      {{.N = 6, .H = 5, .W = 7, .C = 7, .ldx = 10, .ldy = 16}, {0, 1, 6}},
      {{.N = 6, .H = 4, .W = 4, .C = 31, .ldx = 36}, {0, 1, 4, 6}, true},
      {{.N = 4, .H = 6, .W = 3, .C = 33, .relu = false}, {0, 3, 4}, true},
      {{.N = 4, .H = 2, .W = 3, .C = 24, .batch_statistics = false}, {0, 3, 4}},
      {{.N = 3, .H = 13, .W = 11, .C = 48, .ldx = 72, .ldy = 56}, {0, 1, 3}},  // packs
      {{.N = 5, .H = 13, .W = 11, .C = 136, .ldx = 144}, {0, 2, 5}},           // packs, units
      {{.N = 2, .H = 20, .W = 21, .C = 16, .batch_statistics = false}, {0, 2}, true},  // packs
      {{.N = 2, .H = 7, .W = 7, .C = 264}, {0, 1, 2}, true},  // two tiles of packs
  };
}

template <class T>
struct Inputs {
  using M = Master<T>;
  std::vector<T> x, residual, dy;
  std::vector<M> gamma, beta;

  explicit Inputs(const Case& c)
      : x(normal_values<T>(c.pixels() * c.ldx(), 1, 3.0, 2.0)),
        residual(normal_values<T>(c.pixels() * c.ldy(), 2)),
        dy(normal_values<T>(c.pixels() * c.ldy(), 3)),
        gamma(normal_values<M>(c.problem.C, 4, 1.0, 0.3)),
        beta(normal_values<M>(c.problem.C, 5, 0.0, 0.5)) {}
};

template <class T>
struct Outputs {
  std::vector<Master<T>> mean, variance, dgamma, dbeta;
  std::vector<T> y, dx, dresidual;
};

// Tables of moments have two columns more than channels: parts of a wider table.
int table_ld(const Case& c) {
  return c.problem.C + 2;
}

// Gradients are taken at the given moments and y, so that both sides see the same mask.
template <class T>
void backward(Stream on, const Case& c, BatchNormBackward<T> args, std::span<std::byte> workspace,
              BatchNormVariant variant) {
  args.ld = table_ld(c);
  args.parameter_mode = GradMode::accumulate;
  args.dx_mode = c.problem.C % 2 ? GradMode::accumulate : GradMode::overwrite;
  args.dresidual_mode = c.problem.C % 2 ? GradMode::overwrite : GradMode::accumulate;
  batch_norm_backward(on, c.problem, args, workspace, variant);
}

template <class T>
Outputs<T> on_cpu(const Case& c, const Inputs<T>& in) {
  using M = Master<T>;
  const int C = c.problem.C, S = c.segments(), ld = table_ld(c);
  const Segments segments{S, c.offsets.data()};
  Outputs<T> out;
  out.mean.assign(S * ld, 7);
  out.variance.assign(S * ld, 7);
  out.dgamma.assign(C, 0.5);
  out.dbeta.assign(C, 0.25);
  out.y.assign(c.pixels() * c.ldy(), T(M(7)));
  out.dx.assign(c.pixels() * c.ldx(), T(M(7)));
  out.dresidual.assign(c.pixels() * c.ldy(), T(M(7)));
  std::vector<M> scale(S * C), shift(S * C);
  Scratch scratch(batch_norm_workspace_bytes(Device::cpu, c.problem, kDTypeOf<T>, S));
  batch_norm_moments(Stream{}, c.problem, in.x.data(), segments, out.mean.data(),
                     out.variance.data(), ld, scratch.span());
  batch_norm_fold(Stream{}, S, C, c.problem.eps, in.gamma.data(), in.beta.data(), out.mean.data(),
                  out.variance.data(), ld, scale.data(), shift.data());
  batch_norm_apply(Stream{}, c.problem, in.x.data(), segments, scale.data(), shift.data(),
                   c.residual ? in.residual.data() : nullptr, out.y.data());
  backward(Stream{}, c,
           BatchNormBackward<T>{.dy = in.dy.data(),
                                .x = in.x.data(),
                                .y = c.residual ? out.y.data() : nullptr,
                                .gamma = in.gamma.data(),
                                .beta = in.beta.data(),
                                .mean = out.mean.data(),
                                .variance = out.variance.data(),
                                .dgamma = out.dgamma.data(),
                                .dbeta = out.dbeta.data(),
                                .dx = out.dx.data(),
                                .dresidual = out.dresidual.data(),
                                .segments = segments},
           scratch.span(), BatchNormVariant::tiled);
  return out;
}

// The GPU's moments; then, from the CPU's moments and y, everything else.
template <class T>
Outputs<T> on_gpu(const Case& c, const Inputs<T>& in, const Outputs<T>& cpu,
                  BatchNormVariant variant) {
  using M = Master<T>;
  const GpuStream stream;
  const int C = c.problem.C, S = c.segments(), ld = table_ld(c);
  const GpuArray<int> offsets(stream, c.offsets);
  const Segments segments{S, c.offsets.data(), offsets.data()};
  const GpuArray<T> x(stream, in.x), residual(stream, in.residual), dy(stream, in.dy);
  const GpuArray<M> gamma(stream, in.gamma), beta(stream, in.beta);
  const std::vector<M> sevens(static_cast<size_t>(S) * ld, M(7));
  const GpuArray<M> mean(stream, sevens), variance(stream, sevens);
  const GpuArray<M> known_mean(stream, cpu.mean), known_variance(stream, cpu.variance);
  const GpuArray<M> scale(stream, S * C), shift(stream, S * C);
  const GpuArray<M> dgamma(stream, std::vector<M>(C, M(0.5))),
      dbeta(stream, std::vector<M>(C, M(0.25)));
  const std::vector<T> wide_x(in.x.size(), T(M(7))), wide_y(in.dy.size(), T(M(7)));
  const GpuArray<T> y(stream, wide_y), known_y(stream, cpu.y), dx(stream, wide_x),
      dresidual(stream, wide_y);
  const size_t bytes = batch_norm_workspace_bytes(kGpu, c.problem, kDTypeOf<T>, S);
  const GpuArray<std::byte> scratch(stream, static_cast<int64_t>(bytes));
  const std::span<std::byte> workspace(scratch.data(), bytes);

  batch_norm_moments(stream, c.problem, x.data(), segments, mean.data(), variance.data(), ld,
                     workspace, variant);
  batch_norm_fold<M>(stream, S, C, c.problem.eps, gamma.data(), beta.data(), known_mean.data(),
                     known_variance.data(), ld, scale.data(), shift.data());
  batch_norm_apply<T>(stream, c.problem, x.data(), segments, scale.data(), shift.data(),
                      c.residual ? residual.data() : nullptr, y.data(), variant);
  backward(stream, c,
           BatchNormBackward<T>{.dy = dy.data(),
                                .x = x.data(),
                                .y = c.residual ? known_y.data() : nullptr,
                                .gamma = gamma.data(),
                                .beta = beta.data(),
                                .mean = known_mean.data(),
                                .variance = known_variance.data(),
                                .dgamma = dgamma.data(),
                                .dbeta = dbeta.data(),
                                .dx = dx.data(),
                                .dresidual = dresidual.data(),
                                .segments = segments},
           workspace, variant);
  return {mean.host(), variance.host(), dgamma.host(),   dbeta.host(),
          y.host(),    dx.host(),       dresidual.host()};
}

template <class T>
class BatchNormGpu : public ::testing::Test {};
TYPED_TEST_SUITE(BatchNormGpu, ActivationTypes);

TYPED_TEST(BatchNormGpu, MatchesTheCpu) {
  using T = TypeParam;
  for (const Case& c : cases()) {
    const Inputs<T> in(c);
    const Outputs<T> want = on_cpu(c, in);
    for_each_schedule([&] {
      for (const auto variant : {BatchNormVariant::naive, BatchNormVariant::tiled}) {
        SCOPED_TRACE(c.problem.to_string() + (variant == BatchNormVariant::naive ? " naive" : ""));
        const Outputs<T> got = on_gpu(c, in, want, variant);
        expect_near("mean", got.mean, want.mean);
        expect_near("variance", got.variance, want.variance);
        expect_near("y", got.y, want.y);
        expect_near("dx", got.dx, want.dx);
        expect_near("dresidual", got.dresidual, want.dresidual);
        expect_near("dgamma", got.dgamma, want.dgamma);
        expect_near("dbeta", got.dbeta, want.dbeta);
      }
    });
  }
}

// A large mean beside a small spread, over several units; and a segment's bits do not depend on the
// segments beside it.
TEST(BatchNormMomentsGpu, LargeMeanSmallSpreadAndIndependentSegments) {
  for_each_schedule([] {
    const GpuStream stream;
    constexpr int C = 128, kImage = 30 * 30;  // 8 units an image
    const std::vector<float> x = normal_values<float>(3 * kImage * C, 11, 1000.0, 0.01);
    const GpuArray<float> on_gpu(stream, x);
    const auto moments = [&](int first, const std::vector<int>& offsets) {
      const int S = static_cast<int>(offsets.size()) - 1;
      const BatchNormProblem problem{.N = offsets.back(), .H = 30, .W = 30, .C = C};
      const GpuArray<int> gpu_offsets(stream, offsets);
      const GpuArray<float> mean(stream, S * C), variance(stream, S * C);
      const size_t bytes = batch_norm_workspace_bytes(kGpu, problem, DType::f32, S);
      const GpuArray<std::byte> scratch(stream, static_cast<int64_t>(bytes));
      batch_norm_moments<float>(stream, problem, on_gpu.data() + first * kImage * C,
                                {S, offsets.data(), gpu_offsets.data()}, mean.data(),
                                variance.data(), 0, {scratch.data(), bytes});
      return std::pair(mean.host(), variance.host());
    };
    const auto [mean, variance] = moments(0, {0, 1, 3});
    const auto [own_mean, own_variance] = moments(1, {0, 2});
    for (int k = 0; k < C; ++k) {
      double mu = 0, v = 0;
      for (int i = kImage; i < 3 * kImage; ++i) mu += x[i * C + k] / (2.0 * kImage);
      for (int i = kImage; i < 3 * kImage; ++i)
        v += (x[i * C + k] - mu) * (x[i * C + k] - mu) / (2.0 * kImage);
      EXPECT_NEAR(variance[C + k], v, 1e-9);
      EXPECT_NEAR(mean[C + k], mu, 1e-4);
      EXPECT_EQ(own_mean[k], mean[C + k]);
      EXPECT_EQ(own_variance[k], variance[C + k]);
    }
  });
}

// dx in dy's memory, y in x's.
TEST(BatchNormGpuInPlace, AliasesWhereTheHeaderAllows) {
  for_each_schedule([] {
    const GpuStream stream;
    const Case c{{.N = 3, .H = 9, .W = 5, .C = 16}, {0, 1, 3}};
    const Inputs<bf16> in(c);
    const Outputs<bf16> want = on_cpu(c, in);
    const GpuArray<int> offsets(stream, c.offsets);
    const Segments segments{2, c.offsets.data(), offsets.data()};
    const GpuArray<bf16> x(stream, in.x), dy(stream, in.dy), y(stream, in.x);
    const GpuArray<float> gamma(stream, in.gamma), beta(stream, in.beta), mean(stream, want.mean),
        variance(stream, want.variance), scale(stream, 32), shift(stream, 32);
    const size_t bytes = batch_norm_workspace_bytes(kGpu, c.problem, DType::bf16, 2);
    const GpuArray<std::byte> scratch(stream, static_cast<int64_t>(bytes));
    batch_norm_fold<float>(stream, 2, 16, c.problem.eps, gamma.data(), beta.data(), mean.data(),
                           variance.data(), table_ld(c), scale.data(), shift.data());
    batch_norm_apply<bf16>(stream, c.problem, y.data(), segments, scale.data(), shift.data(),
                           nullptr, y.data());
    batch_norm_backward<bf16>(stream, c.problem,
                              {.dy = dy.data(),
                               .x = x.data(),
                               .gamma = gamma.data(),
                               .beta = beta.data(),
                               .mean = mean.data(),
                               .variance = variance.data(),
                               .ld = table_ld(c),
                               .dx = dy.data(),
                               .segments = segments},
                              {scratch.data(), bytes});
    expect_near("y", y.host(), want.y);
    expect_near("dx", dy.host(), want.dx);
  });
}

TEST(BatchNormRunningGpu, SameBitsAsTheCpu) {
  for_each_schedule([] {
    const GpuStream stream;
    constexpr int kRows = 3, kColumns = 37;
    const std::vector<float> means = normal_values<float>(kRows * kColumns, 1, 3.0),
                             variances = normal_values<float>(kRows * kColumns, 2, 9.0);
    const std::vector<double> counts{2, 70, 8, 900, 64, 64};
    std::vector<int> layer(kColumns, 0);
    for (int c = 20; c < kColumns; ++c) layer[c] = 1;
    std::vector<float> mean = normal_values<float>(kColumns, 3), variance(kColumns, 1.0f);
    const GpuArray<float> gpu_means(stream, means), gpu_variances(stream, variances),
        gpu_mean(stream, mean), gpu_variance(stream, variance);
    const GpuArray<double> gpu_counts(stream, counts);
    const GpuArray<int> gpu_layer(stream, layer);
    const std::vector<float> before = mean;
    batch_norm_update_running<float>(
        Stream{}, {kRows, 2, kColumns, means.data(), variances.data(), counts.data(), layer.data(),
                   0.1, mean.data(), variance.data()});
    batch_norm_update_running<float>(
        stream, {kRows, 2, kColumns, gpu_means.data(), gpu_variances.data(), gpu_counts.data(),
                 gpu_layer.data(), 0.1, gpu_mean.data(), gpu_variance.data()});
    EXPECT_TRUE(same_bits(gpu_mean.host(), mean));
    EXPECT_TRUE(same_bits(gpu_variance.host(), variance));
    // Column 5, by hand.
    double m = 0, v = 0;
    const double n[] = {2, 8, 64};
    for (int row = 0; row < kRows; ++row) {
      m += means[row * kColumns + 5] / 3.0;
      v += variances[row * kColumns + 5] * n[row] / (n[row] - 1) / 3.0;
    }
    EXPECT_NEAR(mean[5], 0.9 * before[5] + 0.1 * m, 1e-6);
    EXPECT_NEAR(variance[5], 0.9 + 0.1 * v, 1e-5);
  });
}

TEST(BatchNormGpuErrors, SegmentsWithoutTheGpusOffsets) {
  for_each_schedule([] {
    const GpuStream stream;
    const int offsets[] = {0, 2};
    EXPECT_THROW(batch_norm_apply<float>(stream, {.N = 2, .H = 1, .W = 1, .C = 1}, nullptr,
                                         {1, offsets}, nullptr, nullptr, nullptr, nullptr),
                 Error);
  });
}

}  // namespace
}  // namespace mono
