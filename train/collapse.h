// Whether a self-supervised run still tells images apart: a meter in metrics.jsonl, and an end to
// runs that do not.
//
//   centred_sd  standard deviation of the teacher's (centred) outputs over the batch, mean of the
//               columns; 0: all images have one output
//   entropy     of the teacher's softmax, mean of the rows, as a share of ln K; 1: it says nothing,
//               0: it names one prototype
//   spread      entropy of the rows' mean softmax, likewise; 0: all images name the same prototype
#pragma once

#include "runtime/tensor.h"
#include "train/recipe.h"

namespace mono {

struct CollapseFigures {
  double centred_sd = 0;
  bool has_softmax = false;  // BYOL has none
  double entropy = 1, spread = 1;
};

// logits (rows, K): centred outputs over the teacher's temperature.
CollapseFigures collapse_figures_of_logits(const Tensor& logits, double temperature);
// BYOL: rows (rows, C) are normalised first; isotropic rows have centred_sd 1 / sqrt(C).
CollapseFigures collapse_figures_of_rows(const Tensor& rows);

// Counts steps in a row that are collapsed by the recipe's [collapse].
class CollapseMeter {
 public:
  explicit CollapseMeter(const Recipe::Collapse& options);

  // Takes a step's figures; Error(diverged) with the reason once they have been bad for
  // `patience` steps. `epoch` counts from 0, `step` from 1.
  void add(const CollapseFigures& figures, int64_t epoch, int64_t step);

  // (1) f32 on the CPU: the steps in a row so far. State.
  const Tensor& streak() const { return streak_; }

 private:
  const Recipe::Collapse options_;
  Tensor streak_;
};

}  // namespace mono
