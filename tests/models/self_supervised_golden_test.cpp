// The losses of self-supervised learning, their centres and heads against PyTorch:
// tools/golden/self_supervised.py.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <numeric>

#include "models/self_supervised_heads.h"
#include "nn/domain/domain_centring.h"
#include "nn/functional/self_supervised.h"
#include "tests/kernels/gpu_test.h"
#include "tests/models/formula.h"
#include "tests/paths.h"

namespace mono {
namespace {

constexpr int kPairs = 5, kOutputs = 24, kViews = 8, kDomains = 5, kWidth = 12;
constexpr double kTeacherTemperature = 0.05, kStudentTemperature = 0.1;

const SafetensorsFile& golden() {
  static const SafetensorsFile file(test::data_folder() + "/golden/self_supervised.safetensors");
  return file;
}

// The script's values(): uniform in [-1, 1), rounded to float.
struct Place {
  DType dtype;
  Device device = Device::cpu;
};

Tensor formula_tensor(const std::string& name, const Shape& shape, const Place& place,
                      double scale = 1) {
  const test::FormulaStream stream(name);
  std::vector<double> values(static_cast<size_t>(shape.elements()));
  for (size_t i = 0; i < values.size(); ++i)
    values[i] =
        scale * static_cast<double>(static_cast<float>(stream.uniform(static_cast<int64_t>(i))));
  const Tensor t = Tensor::empty(shape, place.dtype);
  test::assign(t, values);
  return t.to(place.device);
}

Tensor scalar(double value, const Place& place) {
  const Tensor t = Tensor::empty({1}, DType::f64);
  t.data<double>()[0] = value;
  return t.to(place.device);
}

// Largest |got - want| over the largest |want|: 1e-10 in f64; in f32 `single`. (A bias before a
// batch norm has gradient zero, up to rounding.)
void expect_golden(const std::string& name, const Tensor& got, double single = 2e-5) {
  const std::vector<double> want = golden().values<double>(name);
  const std::vector<double> values = test::as_doubles(got.to(Device::cpu));
  ASSERT_EQ(values.size(), want.size()) << name;
  double worst = 0, largest = 0.01;
  for (size_t i = 0; i < want.size(); ++i) {
    const double e = std::abs(values[i] - want[i]);
    worst = std::isnan(e) ? INFINITY : std::max(worst, e);
    largest = std::max(largest, std::abs(want[i]));
  }
  EXPECT_LE(worst / largest, got.dtype() == DType::f64 ? 1e-10 : single) << name;
}

// The loss, which is the mean of what the functions return.
Tensor mean_of(const Tensor& losses) {
  const std::vector<double> values = test::as_doubles(losses.to(Device::cpu));
  const Tensor mean = Tensor::empty({1}, losses.dtype());
  test::assign(mean, {std::accumulate(values.begin(), values.end(), 0.0) /
                      static_cast<double>(values.size())});
  return mean;
}

class SelfSupervisedGolden : public testing::TestWithParam<Place> {
 protected:
  void SetUp() override {
    if (GetParam().device != Device::cpu) MONO_NEEDS_GPU();
  }
  DomainCentring centring(const CentringOptions& options = {}) const {
    const std::vector<int32_t> images = golden().values<int32_t>("images");
    const DomainCentring centring(std::vector<int64_t>(images.begin(), images.end()), kOutputs,
                                  GetParam().dtype, GetParam().device, options);
    const Tensor start = formula_tensor("centres", {kDomains, kOutputs}, GetParam(), 0.2);
    centring.centres().copy_from(start.images(0, centring.domains()));
    return centring;
  }
  Tensor domains() const {
    const std::vector<int32_t> ids = golden().values<int32_t>("domains");
    const Tensor t = Tensor::empty({2 * kPairs}, DType::i32);
    std::ranges::copy(ids, t.data<int32_t>());
    return t.to(GetParam().device);
  }
  Tensor teacher() const { return formula_tensor("teacher", {2 * kPairs, kOutputs}, GetParam()); }
};

TEST_P(SelfSupervisedGolden, DinoBarlowAndBothTogether) {
  const Tensor centred =
      centring().centred(teacher(), domains(), scalar(kTeacherTemperature, GetParam()));
  for (const bool only_cross : {false, true})
    for (const bool direct : {false, true})
      for (const auto& [name, dino, barlow] :
           {std::tuple("dino", 1.0, 0.0), {"barlow", 0.0, 1.0}, {"cdcl", 0.25, 0.75}}) {
        const std::string key = std::string(name) + (only_cross ? ".cross" : "");
        SCOPED_TRACE(key + (direct ? " direct" : ""));
        Tape tape;
        ForwardContext context;
        context.tape = &tape;
        const Variable student(formula_tensor("student", {kViews * kPairs, kOutputs}, GetParam()),
                               true);
        ConsistencyOptions options;
        options.dino_weight = dino;
        options.barlow_weight = barlow;
        options.barlow.direct = direct;
        const ConsistencyLosses losses =
            consistency_losses(student, centred, view_pairs(kViews, only_cross),
                               scalar(kStudentTemperature, GetParam()), options, context);
        EXPECT_EQ(losses.dino.defined(), dino != 0);
        EXPECT_EQ(losses.barlow.defined(), barlow != 0);
        double total = 0;
        for (const auto& [part, weight] : {std::pair(losses.dino, dino), {losses.barlow, barlow}})
          if (part.defined()) total += weight * test::as_doubles(mean_of(part))[0];
        const Tensor loss = Tensor::empty({1}, GetParam().dtype);
        test::assign(loss, {total});
        expect_golden(key, loss);
        tape.backward();
        expect_golden(key + ".grad", student.grad());
      }
}

TEST_P(SelfSupervisedGolden, CentresAfterAnUpdate) {
  for (const auto& [name, options] : {std::pair("centres", CentringOptions{}),
                                      {"centres.plain", CentringOptions{.weighted = false}},
                                      {"centres.single", CentringOptions{.per_domain = false}}}) {
    DomainCentring centres = centring(options);
    centres.update(teacher(), options.per_domain ? domains() : Tensor());
    expect_golden(name, centres.centres(), 1e-6);
  }
}

TEST_P(SelfSupervisedGolden, ByolAndByolBarlow) {
  const Tensor target = formula_tensor("target", {2 * kPairs, kWidth}, GetParam());
  for (const int variant : {0, 1, 2}) {
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable prediction(formula_tensor("prediction", {2 * kPairs, kWidth}, GetParam()), true);
    const Tensor losses =
        variant == 0 ? byol_losses(prediction, target, 1, context)
                     : byol_barlow_losses(prediction, target, {.direct = variant == 2}, 1, context);
    const std::string name = variant == 0 ? "byol" : "byol_bl";
    expect_golden(name, mean_of(losses));
    tape.backward();
    expect_golden(name + ".grad", prediction.grad());
  }
}

// Output and gradients of a head on two views of five images, each with statistics of its own.
template <class Head, class... Config>
void expect_head(const std::string& name, const Place& place, const Config&... config) {
  ParameterArena arena;
  NormLayers norms;
  const Head head(ModelBuilder{arena, norms, name + "."}, kWidth, config...);
  arena.allocate(place.dtype, place.device);
  const Tensor weights = Tensor::zeros(arena.weights().shape(), place.dtype);
  for (const Parameter& p : arena.parameters()) {
    std::vector<int64_t> shape;
    for (int i = 0; i < p.shape.rank(); ++i) shape.push_back(p.shape[i]);
    test::assign(arena.view(weights, p), test::formula_values(p.name, shape));
  }
  arena.weights().copy_from(weights);
  const SegmentTable segments({0, kPairs, 2 * kPairs}, place.device);
  Tape tape;
  const ForwardContext context{&tape, segments, {}};
  const Variable x(formula_tensor("x", {2 * kPairs, kWidth}, place), true);
  const Variable y = head.forward(x, context);
  expect_golden(name + ".y", y.value());
  y.seed_grad(formula_tensor(name + ".dy", y.shape(), place));
  const Tensor gradients = arena.new_array();
  arena.begin_gradients(gradients);
  tape.backward();
  arena.finish_gradients();
  expect_golden(name + ".grad.x", x.grad());
  for (const Parameter& p : arena.parameters())
    expect_golden(name + ".grad." + p.name.substr(name.size() + 1), arena.view(gradients, p), 1e-4);
}

TEST_P(SelfSupervisedGolden, Heads) {
  expect_head<DinoHead>(
      "dino_head", GetParam(),
      DinoHeadConfig{.hidden = 16, .bottleneck = 8, .outputs = kOutputs, .train_g = true});
  expect_head<ByolProjector>("projector", GetParam(),
                             ByolConfig{.hidden = 16, .outputs = 8, .output_norm = true});
  expect_head<ByolMlp>("predictor", GetParam(), ByolConfig{.hidden = 16, .outputs = 8});
}

TEST(SelfSupervisedHeads, TheNormOfDinosLastLayerIsFrozenUnlessAskedFor) {
  for (const bool train_g : {false, true}) {
    ParameterArena arena;
    NormLayers norms;
    const DinoHead head(ModelBuilder{arena, norms, "head."}, kWidth,
                        {.hidden = 16, .bottleneck = 8, .outputs = kOutputs, .train_g = train_g});
    arena.allocate(DType::f64);
    arena.initialise(3);
    EXPECT_THAT(test::as_doubles(arena.view(arena.weights(), head.weight_g())), testing::Each(1.0));
    EXPECT_EQ(head.weight_g().is_norm_or_bias, !train_g);
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable y =
        head.forward(Variable(formula_tensor("x", {2 * kPairs, kWidth}, {DType::f64})), context);
    for (const double cosine : test::as_doubles(y.value())) EXPECT_LE(std::abs(cosine), 1 + 1e-12);
    y.seed_grad(formula_tensor("dy", y.shape(), {DType::f64}));
    const Tensor gradients = arena.new_array();
    arena.begin_gradients(gradients);
    tape.backward();
    arena.finish_gradients();
    for (const Parameter& p : arena.parameters()) {
      double largest = 0;
      for (const double g : test::as_doubles(arena.view(gradients, p)))
        largest = std::max(largest, std::abs(g));
      EXPECT_EQ(largest > 0, train_g || &p != &head.weight_g()) << p.name;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Places, SelfSupervisedGolden,
                         testing::Values(Place{DType::f64}, Place{DType::f32},
                                         Place{DType::f32, kGpu}),
                         [](const auto& info) {
                           return std::string(name_of(info.param.dtype)) +
                                  (info.param.device == Device::cpu ? "" : "Device");
                         });

}  // namespace
}  // namespace mono
