// Shapley values: how much of a value each of n players brings (RxRx1, Figure 8: the channels of
// an image, the value being the accuracy of a model that was trained on them alone).
//
//   phi_i = sum over S without i of |S|! (n - |S| - 1)! / n! (v(S + i) - v(S))
//
// exact over all 2^n subsets. They sum to v(all) - v(none); v(none) is what is reached without any
// channel: chance.
// Source: Shapley 1953.
#pragma once

#include <span>
#include <vector>

namespace mono {

// values (2^n): the value of each subset, player i being bit i; values[0] is v(none). Returns n
// values. n is 1..16.
std::vector<double> shapley_values(std::span<const double> values);

}  // namespace mono
