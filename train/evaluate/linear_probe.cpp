#include "train/evaluate/linear_probe.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "kernels/base/error.h"
#include "kernels/base/philox.h"
#include "nn/functional/cross_entropy.h"
#include "nn/functional/linear.h"

#include "nn/optim/sgd.h"

namespace mono {

struct LinearProbe::State {
  ParameterArena arena;
  const Parameter* weight = nullptr;
  const Parameter* bias = nullptr;
  std::unique_ptr<Sgd> sgd;
  Tensor gradients;
  int width, classes;
};

namespace {

constexpr double kInitialStd = 0.01;
constexpr int kRowsPerForward = 1024;

Tensor rows_as_tensor(FeatureView rows) {
  const Tensor tensor = Tensor::empty({rows.rows, rows.width}, DType::f32);
  std::ranges::copy(rows.values, tensor.data<float>());
  return tensor;
}

}  // namespace

LinearProbe::LinearProbe(int width, int classes, double momentum, uint64_t seed)
    : state_(std::make_unique<State>()) {
  State& s = *state_;
  s.width = width;
  s.classes = classes;
  s.weight = &s.arena.add("weight", {classes, width}, Init::zeros);
  s.bias = &s.arena.add("bias", {classes}, Init::zeros, true);
  s.arena.allocate(DType::f32);
  Philox draw(seed, Purpose::initialisation);
  for (float& value : weight()) value = static_cast<float>(kInitialStd * draw.normal());
  s.arena.weights_changed();
  s.gradients = s.arena.new_array();
  SgdOptions options;
  options.momentum = momentum;
  s.sgd = std::make_unique<Sgd>(s.arena, options);
}

LinearProbe::~LinearProbe() = default;

std::span<float> LinearProbe::weight() {
  return state_->arena.view(state_->arena.weights(), *state_->weight).span<float>();
}
std::span<float> LinearProbe::bias() {
  return state_->arena.view(state_->arena.weights(), *state_->bias).span<float>();
}

double LinearProbe::step(FeatureView rows, std::span<const int> labels, double lr) {
  State& s = *state_;
  const Tensor targets = Tensor::zeros({rows.rows, s.classes}, DType::f32);
  for (int i = 0; i < rows.rows; ++i)
    targets.data<float>()[int64_t{i} * s.classes + labels[static_cast<size_t>(i)]] = 1;
  Tape tape;
  ForwardContext context;
  context.tape = &tape;
  const Variable logits = linear(Variable(rows_as_tensor(rows)), *s.weight, s.bias, context);
  const double loss = soft_cross_entropy(logits, targets, 1.0, context);
  s.arena.begin_gradients(s.gradients);
  tape.backward();
  s.arena.finish_gradients();
  s.sgd->step(s.gradients, lr, 1.0);
  return loss;
}

std::vector<int> LinearProbe::predict(FeatureView rows) const {
  const State& s = *state_;
  std::vector<int> predicted;
  for (int begin = 0; begin < rows.rows; begin += kRowsPerForward) {
    const int count = std::min(kRowsPerForward, rows.rows - begin);
    const size_t width = static_cast<size_t>(rows.width);
    const FeatureView part{
        rows.values.subspan(static_cast<size_t>(begin) * width, static_cast<size_t>(count) * width),
        count, rows.width};
    const Variable logits = linear(Variable(rows_as_tensor(part)), *s.weight, s.bias, {});
    for (int i = 0; i < count; ++i) {
      const float* row = logits.value().data<float>() + int64_t{i} * s.classes;
      predicted.push_back(static_cast<int>(std::max_element(row, row + s.classes) - row));
    }
  }
  return predicted;
}

namespace {

// Mean and 1 / standard deviation (1 where that is 0) of each column.
struct Columns {
  std::vector<double> mean, scale;
};

Columns columns_of(FeatureView rows) {
  Columns columns;
  for (size_t c = 0; c < static_cast<size_t>(rows.width); ++c) {
    double mean = 0, variance = 0;
    for (int i = 0; i < rows.rows; ++i) mean += static_cast<double>(rows.row(i)[c]);
    mean /= rows.rows;
    for (int i = 0; i < rows.rows; ++i) {
      const double difference = static_cast<double>(rows.row(i)[c]) - mean;
      variance += difference * difference;
    }
    if (!std::isfinite(variance))
      fail(ErrorKind::data, "linear probe: column {} holds a value that is not finite", c);
    columns.mean.push_back(mean);
    columns.scale.push_back(variance > 0 ? 1.0 / std::sqrt(variance / rows.rows) : 1.0);
  }
  return columns;
}

Features standardised(FeatureView rows, const Columns& columns) {
  Features out(rows.rows, rows.width);
  for (int i = 0; i < rows.rows; ++i)
    for (size_t c = 0; c < columns.mean.size(); ++c)
      out.row(i)[c] = static_cast<float>((static_cast<double>(rows.row(i)[c]) - columns.mean[c]) *
                                         columns.scale[c]);
  return out;
}

}  // namespace

LinearProbeResult linear_probe(FeatureView bank, std::span<const int> bank_labels, int classes,
                               FeatureView queries, std::span<const int> query_labels,
                               const LinearProbeOptions& options) {
  MONO_CHECK(bank.rows >= 1 && static_cast<int>(bank_labels.size()) == bank.rows &&
                 static_cast<int>(query_labels.size()) == queries.rows &&
                 bank.width == queries.width,
             "linear probe: {} labels for {} rows of {}, {} for {} of {}", bank_labels.size(),
             bank.rows, bank.width, query_labels.size(), queries.rows, queries.width);
  MONO_CHECK(std::ranges::all_of(bank_labels, [&](int l) { return l >= 0 && l < classes; }),
             "linear probe: a label outside of 0..{}", classes - 1);
  Columns columns = columns_of(bank);
  if (!options.standardise) {
    std::ranges::fill(columns.mean, 0.0);
    std::ranges::fill(columns.scale, 1.0);
  }
  const Features train = standardised(bank, columns);
  const double peak = options.lr > 0 ? options.lr : 1e-3 * options.batch / 256;

  LinearProbe probe(bank.width, classes, options.momentum, options.seed);
  LinearProbeResult result;
  std::vector<int> order(static_cast<size_t>(bank.rows)), labels;
  for (int epoch = 0; epoch < options.epochs; ++epoch) {
    const double lr = peak / 2 * (1 + std::cos(std::numbers::pi * epoch / options.epochs));
    std::iota(order.begin(), order.end(), 0);
    Philox(options.seed, Purpose::sampler, static_cast<uint32_t>(epoch)).shuffle(order);
    result.loss = 0;
    for (int begin = 0; begin < bank.rows; begin += options.batch) {
      Features rows(std::min(options.batch, bank.rows - begin), bank.width);
      labels.clear();
      for (int i = 0; i < rows.rows; ++i) {
        const int row = order[static_cast<size_t>(begin + i)];
        std::ranges::copy(train.row(row), rows.row(i).begin());
        labels.push_back(bank_labels[static_cast<size_t>(row)]);
      }
      const double loss = probe.step(rows, labels, lr);
      if (!std::isfinite(loss))
        fail(ErrorKind::diverged, "linear probe: the loss is {} in epoch {} at lr {}", loss, epoch,
             lr);
      result.loss += loss * rows.rows / bank.rows;
    }
  }
  result.predicted = probe.predict(standardised(queries, columns));
  for (size_t i = 0; i < query_labels.size(); ++i) {
    if (query_labels[i] < 0) continue;
    ++result.accuracy.images;
    result.accuracy.correct += result.predicted[i] == query_labels[i];
  }
  return result;
}

}  // namespace mono
