#include "nn/optim/schedule.h"

#include <cmath>
#include <numbers>

namespace mono {

double LearningRateSchedule::at(int64_t step) const {
  if (step < warmup_steps)
    return lr * static_cast<double>(step + 1) / static_cast<double>(warmup_steps);
  if (!cosine) return lr;
  const double done = static_cast<double>(step - warmup_steps);
  const double length = static_cast<double>(total_steps - warmup_steps);
  return lr / 2 * (1 + std::cos(std::numbers::pi * done / length));
}

}  // namespace mono
