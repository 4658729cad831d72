// A teacher: a model whose weights are the moving average of a student's (DINO, BYOL, CDCL).
#pragma once

#include "runtime/parameter_arena.h"

namespace mono {

// teacher = beta teacher + (1 - beta) student for every parameter of the teacher; the student has
// each of them by name and shape, and may have more (BYOL's predictor). Running statistics of batch
// norms are no parameters: the teacher has its own.
class Ema {
 public:
  // Both allocated, in the same precision, on the same device. Errors: a parameter that the student
  // lacks or has in another shape (usage).
  Ema(ParameterArena& teacher, const ParameterArena& student);

  // Where training begins: teacher = student.
  void copy() const;

  // An update in two halves: beta goes to device memory, so that a captured apply() finds that of
  // each replay there.
  void set_momentum(double beta);
  void apply() const;
  void update(double beta) {
    set_momentum(beta);
    apply();
  }

 private:
  struct Run {  // neighbours in both arenas
    int64_t teacher, student, n;
  };
  ParameterArena& teacher_;
  const ParameterArena& student_;
  std::vector<Run> runs_;  // one where the arenas are alike
  Tensor beta_;            // (1) f64, on the device
};

}  // namespace mono
