#include "train/collapse.h"

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"

namespace mono {
namespace {

// Mean over the columns of the standard deviation over the rows, in double.
double column_sd(const float* values, int rows, int columns) {
  std::vector<double> sd(static_cast<size_t>(columns));
  parallel_for(columns, [&](int64_t c, int) {
    double mean = 0, squares = 0;
    for (int r = 0; r < rows; ++r) mean += static_cast<double>(values[int64_t{r} * columns + c]);
    mean /= rows;
    for (int r = 0; r < rows; ++r) {
      const double d = static_cast<double>(values[int64_t{r} * columns + c]) - mean;
      squares += d * d;
    }
    sd[static_cast<size_t>(c)] = std::sqrt(squares / rows);
  });
  double sum = 0;
  for (const double value : sd) sum += value;
  return sum / columns;
}

double entropy_of(const std::vector<double>& p) {
  double sum = 0;
  for (const double value : p)
    if (value > 0) sum -= value * std::log(value);
  return sum / std::log(static_cast<double>(p.size()));
}

}  // namespace

CollapseFigures collapse_figures_of_logits(const Tensor& logits, double temperature) {
  const Tensor host = logits.to(Device::cpu);
  const int rows = host.shape()[0], K = host.shape()[1];
  const float* values = host.data<float>();
  CollapseFigures figures;
  figures.has_softmax = true;
  figures.centred_sd = temperature * column_sd(values, rows, K);
  std::vector<std::vector<double>> softmax(static_cast<size_t>(rows));
  std::vector<double> entropy(static_cast<size_t>(rows));
  parallel_for(rows, [&](int64_t r, int) {
    const float* row = values + r * K;
    const double most = static_cast<double>(*std::max_element(row, row + K));
    std::vector<double>& p = softmax[static_cast<size_t>(r)];
    double sum = 0;
    for (int k = 0; k < K; ++k) {
      p.push_back(std::exp(static_cast<double>(row[k]) - most));
      sum += p.back();
    }
    for (double& value : p) value /= sum;
    entropy[static_cast<size_t>(r)] = entropy_of(p);
  });
  std::vector<double> mean(static_cast<size_t>(K));
  figures.entropy = 0;
  for (int r = 0; r < rows; ++r) {
    figures.entropy += entropy[static_cast<size_t>(r)] / rows;
    for (int k = 0; k < K; ++k)
      mean[static_cast<size_t>(k)] +=
          softmax[static_cast<size_t>(r)][static_cast<size_t>(k)] / rows;
  }
  figures.spread = entropy_of(mean);
  return figures;
}

CollapseFigures collapse_figures_of_rows(const Tensor& rows) {
  const Tensor host = rows.to(Device::cpu);
  const int count = host.shape()[0], columns = host.shape()[1];
  std::vector<float> unit;
  unit.reserve(static_cast<size_t>(host.elements()));
  dispatch_activation(host.dtype(), [&]<class T>() {
    for (int r = 0; r < count; ++r) {
      const T* row = host.data<T>() + int64_t{r} * columns;
      double squares = 0;
      for (int c = 0; c < columns; ++c) {
        const double value = static_cast<double>(static_cast<Master<T>>(row[c]));
        squares += value * value;
      }
      const double norm = std::max(std::sqrt(squares), 1e-12);
      for (int c = 0; c < columns; ++c)
        unit.push_back(
            static_cast<float>(static_cast<double>(static_cast<Master<T>>(row[c])) / norm));
    }
  });
  return {.centred_sd = column_sd(unit.data(), count, columns)};
}

CollapseMeter::CollapseMeter(const Recipe::Collapse& options)
    : options_(options), streak_(Tensor::zeros({1}, DType::f32)) {}

void CollapseMeter::add(const CollapseFigures& figures, int64_t epoch, int64_t step) {
  float& streak = streak_.data<float>()[0];
  const bool flat = figures.centred_sd < options_.least_sd;
  const bool one_answer = figures.spread < options_.least_spread;
  const bool silent = figures.has_softmax && figures.entropy > options_.most_entropy;
  if (epoch < options_.after_epochs || !(flat || one_answer || silent)) {
    streak = 0;
    return;
  }
  streak += 1;
  if (static_cast<int64_t>(streak) < options_.patience) return;
  const std::string reason =
      flat ? fmt::format(
                 "the teacher's outputs differ by {:.2g} from image to image "
                 "(collapse.least_sd = {:.2g})",
                 figures.centred_sd, options_.least_sd)
      : silent ? fmt::format(
                     "the teacher's answers say nothing: entropy {:.6f} of ln K "
                     "(collapse.most_entropy = {:.6f})",
                     figures.entropy, options_.most_entropy)
               : fmt::format(
                     "the teacher gives all images one answer: entropy of its mean {:.2g} "
                     "of ln K (collapse.least_spread = {:.2g})",
                     figures.spread, options_.least_spread);
  fail(ErrorKind::diverged,
       "training has collapsed at step {}: {}, for {} steps in a row. Nothing of this step was "
       "saved; a lower optim.lr, another ssl.teacher_temperature or a larger batch may help",
       step, reason, options_.patience);
}

}  // namespace mono
