// What a step reports: numbers that add up where the computation is and are read once, at its end.
#pragma once

#include <vector>

#include "runtime/tensor.h"

namespace mono {

// One row of them, or several: a row for each group of a step keeps sums in the groups' order
// whichever rank computes them.
class Figures {
 public:
  Figures(int count, Device device, int rows = 1);

  void clear();
  void select_row(int row);  // which the calls below fill; 0 after clear()
  // figure += weight * mean of the losses
  void add_mean(int figure, const Tensor& losses, double weight = 1);
  // figure += the number of rows whose largest logit is where the target is largest (the first of
  // equals). logits and targets (f32) are (N,K), packed.
  void add_correct(int figure, const Tensor& logits, const Tensor& targets);
  // figure = sum of the squares of a flat array of masters
  void sum_of_squares(int figure, const Tensor& array);

  std::vector<double> read() const;  // (rows, count); waits for the device

 private:
  double* at(int figure) const { return values_.data<double>() + int64_t{row_} * count_ + figure; }
  int count_, row_ = 0;
  Tensor values_;
};

}  // namespace mono
