#include "nn/optim/schedule.h"

#include <cmath>
#include <numbers>

namespace mono {
namespace {

// From start at i = 0 to end at i = n.
double cosine_between(double start, double end, int64_t i, int64_t n) {
  const double done = static_cast<double>(i), length = static_cast<double>(n);
  return end + (start - end) / 2 * (1 + std::cos(std::numbers::pi * done / length));
}

}  // namespace

double LearningRateSchedule::at(int64_t step) const {
  const double W = static_cast<double>(warmup_steps);
  const auto warm_up = [&](int64_t i) {
    return start + (lr - start) * static_cast<double>(i + 1) / W;
  };
  if (step < warmup_steps) return warm_up(step);
  if (!cosine) return lr;
  const double peak = overshoot && warmup_steps > 0 ? warm_up(warmup_steps) : lr;
  return cosine_between(peak, floor, step - warmup_steps, total_steps - warmup_steps);
}

double CosineSchedule::at(int64_t i) const {
  return cosine_between(start, end, i, total_steps);
}

double WarmRestartSchedule::at(int64_t step) const {
  return cosine_between(lr, floor, step % period, period);
}

double TemperatureSchedule::at(int epoch) const {
  if (epoch >= epochs) return end;
  return epochs == 1 ? start : start + (end - start) * epoch / (epochs - 1);
}

}  // namespace mono
