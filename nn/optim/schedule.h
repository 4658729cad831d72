// The learning rate of every step: linear warm-up, then cosine to zero or constant.
//
//   step i < W:   lr (i + 1) / W
//   cosine:       lr / 2 (1 + cos(pi (i - W) / (T - W)))        W <= i < T
// Source: RxRx1 section 4.1 (warm-up of 5 epochs, cosine); per step, as the first author's code.
#pragma once

#include <cstdint>

namespace mono {

struct LearningRateSchedule {
  double lr = 0.1;
  int64_t warmup_steps = 0;  // W
  int64_t total_steps = 1;   // T
  bool cosine = true;        // false: lr after the warm-up

  double at(int64_t step) const;
};

}  // namespace mono
