// The functions of self_supervised.h against finite differences in f64, what they refuse, and a
// whole step of losses and centres on the GPU, recorded once and replayed.
#include "nn/functional/self_supervised.h"

#include <gmock/gmock.h>

#include "nn/domain/domain_centring.h"
#include "nn/functional/figures.h"
#include "runtime/graph.h"
#include "tests/kernels/gpu_test.h"
#include "tests/nn/gradient_check.h"

namespace mono {
namespace {

using test::expect_gradients;
using test::normal_tensor;
using testing::HasSubstr;
using Inputs = std::vector<Variable>;

Tensor scalar(double value, Device device = Device::cpu) {
  const Tensor t = Tensor::empty({1}, DType::f64);
  t.data<double>()[0] = value;
  return t.to(device);
}

double mean_of(const Tensor& losses) {
  Figures figures(1, losses.device());
  figures.add_mean(0, losses);
  return figures.read()[0];
}

template <class F>
std::string message_of(F&& f) {
  try {
    f();
  } catch (const Error& error) {
    return error.what();
  }
  return "no error";
}

TEST(L2NormaliseGradient, IsTheDifferenceQuotient) {
  ParameterArena none;
  none.allocate(DType::f64);
  expect_gradients(
      {none, {normal_tensor({3, 7}, 1)}, {0, 3}},
      [](const Inputs& x, const ForwardContext& context) { return l2_normalise(x[0], context); });
}

TEST(WeightNormGradient, IsTheDifferenceQuotientAlsoOfALayerUsedTwice) {
  ParameterArena arena;
  const Parameter& g = arena.add("g", {5, 1}, Init::ones);
  const Parameter& v = arena.add("v", {5, 5}, Init::linear_uniform);
  arena.allocate(DType::f64);
  test::randomise(arena);
  expect_gradients({arena, {normal_tensor({4, 5}, 1)}, {0, 4}},
                   [&](const Inputs& x, const ForwardContext& context) {
                     const Variable y = weight_norm_linear(x[0], v, g, true, context);
                     return weight_norm_linear(y, v, g, true, context);
                   });
}

// The gradient that `loss` leaves in its input against differences of the mean of what it returns.
template <class F>
void expect_loss_gradient(const Tensor& at, double weight, F&& loss) {
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable x(at, true);
  loss(x, context);
  tape.backward();
  const Tensor gradient = x.grad();
  context.tape = nullptr;
  double largest = 0;
  for (const double g : gradient.span<double>()) largest = std::max(largest, std::abs(g));
  EXPECT_GT(largest, 1e-6);
  for (int64_t i = 0; i < at.elements(); i += std::max<int64_t>(1, at.elements() / 60)) {
    double& value = at.data<double>()[i];
    const double before = value, h = 1e-5;
    value = before + h;
    const double up = mean_of(loss(Variable(at), context));
    value = before - h;
    const double down = mean_of(loss(Variable(at), context));
    value = before;
    EXPECT_NEAR(gradient.data<double>()[i], weight * (up - down) / (2 * h), 1e-6 * largest) << i;
  }
}

TEST(SelfSupervisedGradient, OfEveryLossIsTheDifferenceQuotient) {
  const int B = 4, K = 9, views = 6;
  const Tensor student = normal_tensor({views * B, K}, 1), centred = normal_tensor({2 * B, K}, 2);
  const Tensor temperature = scalar(0.8);
  for (const bool only_cross : {false, true}) {
    const ViewPairs pairs = view_pairs(views, only_cross);
    for (const bool divide : {false, true})
      expect_loss_gradient(student, 0.3, [&](const Variable& x, const ForwardContext& context) {
        return dino_losses(x, centred, pairs, temperature, {divide}, 0.3, context);
      });
    for (const bool direct : {false, true})
      expect_loss_gradient(student, 0.3, [&](const Variable& x, const ForwardContext& context) {
        return barlow_losses(x, centred, pairs, temperature, {.direct = direct}, 0.3, context);
      });
  }
  const Tensor prediction = normal_tensor({2 * B, K}, 3), target = normal_tensor({2 * B, K}, 4);
  expect_loss_gradient(prediction, 0.3, [&](const Variable& x, const ForwardContext& context) {
    return byol_losses(x, target, 0.3, context);
  });
  expect_loss_gradient(prediction, 0.3, [&](const Variable& x, const ForwardContext& context) {
    return byol_barlow_losses(x, target, {}, 0.3, context);
  });
}

TEST(SelfSupervised, ViewPairsAreThoseOfThePaper) {
  const ViewPairs all = view_pairs(8), cross = view_pairs(8, true);
  EXPECT_EQ(all.terms(), 14);
  EXPECT_EQ(cross.terms(), 8);
  for (int v = 0; v < 8; ++v)
    for (int i = 0; i < 2; ++i) {
      EXPECT_EQ(all.has(i, v), v != i);
      const bool of_image_1 = v == 0 || (v >= 2 && v < 5);
      EXPECT_EQ(cross.has(i, v), of_image_1 == (i == 1)) << v << i;
    }
  EXPECT_EQ(view_pairs(2).terms(), 2);
  EXPECT_THAT(message_of([] { view_pairs(1); }), HasSubstr("there must be two global ones"));
  EXPECT_THAT(message_of([] { view_pairs(5, true); }), HasSubstr("as many of one image"));
}

TEST(SelfSupervised, UniformPredictionsHaveLossOneAndRawDinoLogK) {
  const int B = 3, K = 10;
  const Tensor student = Tensor::zeros({4 * B, K}, DType::f64),
               centred = normal_tensor({2 * B, K}, 1);
  const ForwardContext context;
  EXPECT_NEAR(
      mean_of(dino_losses(Variable(student), centred, view_pairs(4), scalar(0.1), {}, 1, context)),
      1, 1e-12);
  EXPECT_NEAR(mean_of(dino_losses(Variable(student), centred, view_pairs(4), scalar(0.1), {false},
                                  1, context)),
              std::log(10.0), 1e-12);
}

TEST(SelfSupervised, ABatchOfOnePairIsRefusedByBarlowAlone) {
  const Tensor student = normal_tensor({8, 6}, 1), centred = normal_tensor({2, 6}, 2);
  const ForwardContext context;
  EXPECT_THAT(message_of([&] {
                barlow_losses(Variable(student), centred, view_pairs(8), scalar(0.1), {}, 1,
                              context);
              }),
              HasSubstr("use a batch of at least two pairs"));
  EXPECT_THAT(message_of([&] { byol_barlow_losses(Variable(centred), centred, {}, 1, context); }),
              HasSubstr("use a batch of at least two pairs"));
  EXPECT_TRUE(std::isfinite(mean_of(
      dino_losses(Variable(student), centred, view_pairs(8), scalar(0.1), {}, 1, context))));
}

TEST(SelfSupervised, NamesBothShapesWhereTheyDoNotFit) {
  const Tensor student = normal_tensor({16, 6}, 1), centred = normal_tensor({2, 6}, 2);
  const ForwardContext context;
  EXPECT_THAT(message_of([&] {
                dino_losses(Variable(student), centred, view_pairs(8), scalar(0.1), {}, 1, context);
              }),
              HasSubstr("student f64 (16, 6), teacher f64 (2, 6)"));
  EXPECT_THAT(message_of([&] { byol_losses(Variable(student), centred, 1, context); }),
              HasSubstr("target f64 (2, 6) does not fit the prediction f64 (16, 6)"));
  EXPECT_THAT(message_of([&] {
                consistency_losses(Variable(student), normal_tensor({4, 6}, 2), view_pairs(8),
                                   scalar(0.1), {.dino_weight = 0, .barlow_weight = 0}, context);
              }),
              HasSubstr("learns nothing"));
}

// Three steps of centring, both losses, backward and the update of the centres. The temperature
// falls from step to step. On a device as a recorded step or as it comes.
struct Outcome {
  std::vector<double> losses;
  Tensor gradient, centres;
};
Outcome three_steps(Device device, DType dtype, bool recorded) {
  const int B = 5, K = 33, views = 4;
  const std::vector<int64_t> images = {30, 50, 0, 20};
  DomainCentring centring(images, K, master_of(dtype), device);
  const Tensor ids = Tensor::empty({2 * B}, DType::i32);
  for (int i = 0; i < 2 * B; ++i) ids.data<int>()[i] = i % 3 == 2 ? 3 : i % 3;
  const Tensor domains = ids.to(device);
  const Tensor teacher = normal_tensor({2 * B, K}, 1, dtype).to(device);
  const Tensor student = normal_tensor({views * B, K}, 2, dtype).to(device);
  const Tensor temperature = Tensor::empty({1}, DType::f64, device);
  const Tensor student_temperature = scalar(0.5, device);
  Figures figures(2, device);
  Outcome outcome;
  const auto step = [&] {
    figures.clear();
    Tape tape;
    ForwardContext context;
    context.tape = &tape;
    const Variable x(student, true);
    const Tensor centred = centring.centred(teacher, domains, temperature);
    const ConsistencyLosses losses =
        consistency_losses(x, centred, view_pairs(views), student_temperature, {}, context);
    centring.update(teacher, domains);
    figures.add_mean(0, losses.dino);
    figures.add_mean(1, losses.barlow);
    tape.backward();
    outcome.gradient = x.grad();
  };
  const auto read = [&] {
    for (const double loss : figures.read()) outcome.losses.push_back(loss);
  };
  temperature.copy_from(scalar(1));
  std::optional<Graph> graph;
  if (recorded)
    graph.emplace(step);  // runs it once
  else
    step();
  read();
  for (const double next : {0.8, 0.6}) {
    temperature.copy_from(scalar(next));
    if (recorded)
      graph->replay();
    else
      step();
    read();
  }
  outcome.gradient = outcome.gradient.to(Device::cpu);
  outcome.centres = centring.centres().to(Device::cpu);
  return outcome;
}

double worst_of(const Tensor& got, const Tensor& want) {
  double worst = 0, largest = 0;
  dispatch_activation(got.dtype(), [&]<class T>() {
    for (int64_t i = 0; i < got.elements(); ++i) {
      const double a = static_cast<Master<T>>(got.data<T>()[i]);
      const double b = static_cast<Master<T>>(want.data<T>()[i]);
      worst = std::isnan(a) ? INFINITY : std::max(worst, std::abs(a - b));
      largest = std::max(largest, std::abs(b));
    }
  });
  return worst / largest;
}

TEST(SelfSupervisedDevice, ThreeStepsMatchTheCpuAlsoRecorded) {
  test::for_each_schedule_of_a_network([] {
    for (const DType dtype : {DType::f32, DType::bf16}) {
      const Outcome want = three_steps(Device::cpu, dtype, false);
      EXPECT_NE(want.losses[0], want.losses[4]);
      for (const bool recorded : {false, true}) {
        if (!recorded && dtype == DType::bf16) continue;
        SCOPED_TRACE(recorded);
        const Outcome got = three_steps(kGpu, dtype, recorded);
        for (size_t i = 0; i < want.losses.size(); ++i)
          EXPECT_NEAR(got.losses[i], want.losses[i], 1e-6 * want.losses[i]);
        EXPECT_LE(worst_of(got.gradient, want.gradient), dtype == DType::f32 ? 1e-5 : 1e-2);
        EXPECT_LE(worst_of(got.centres, want.centres), 1e-6);
      }
    }
  });
}

}  // namespace
}  // namespace mono
