// What changes from step to step by a formula: learning rate, weight decay, the teacher's momentum
// and temperature. `step` counts completed steps: 0 in the first one.
#pragma once

#include <cstdint>

namespace mono {

// Linear warm-up, then cosine or constant:
//
//   step i < W:   start + (lr - start) (i + 1) / W
//   cosine:       floor + (lr - floor) / 2 (1 + cos(pi (i - W) / (T - W)))        W <= i < T
//
// Source: RxRx1 section 4.1 (start and floor 0; per step, as the first author's code). CDCL's code
// (start = floor = 1e-5) warms up for one step too many, so that its cosine begins at
// lr + (lr - start) / W: `overshoot`.
struct LearningRateSchedule {
  double lr = 0.1;
  int64_t warmup_steps = 0;  // W
  int64_t total_steps = 1;   // T
  bool cosine = true;        // false: lr after the warm-up
  double start = 0, floor = 0;
  bool overshoot = false;

  double at(int64_t step) const;
};

// end + (start - end) / 2 (1 + cos(pi i / T)). CDCL, whose own count begins at 1: weight decay of
// step i is at(i), and the teacher's momentum after step i is at(i + 1).
struct CosineSchedule {
  double start, end;
  int64_t total_steps;  // T

  double at(int64_t i) const;
};

// Cosine from lr to floor that starts again every `period` steps: the online probe (torch's
// CosineAnnealingWarmRestarts with T_0 of one epoch, T_mult 1).
struct WarmRestartSchedule {
  double lr, floor;
  int64_t period;

  double at(int64_t step) const;
};

// The teacher's temperature in an epoch (0, 1, ...): evenly spaced from start to end over the first
// `epochs`, both ends included, then end.
struct TemperatureSchedule {
  double start = 0.04, end = 0.07;
  int epochs = 10;

  double at(int epoch) const;
};

}  // namespace mono
