// How far apart two samples of numbers are (RxRx1, Figure 7).
//
//   ks_statistic   max over x of |F(x) - G(x)|
//   wasserstein1   integral of |F(x) - G(x)| dx, the least work that moves one onto the other
//
// F and G are the shares of each sample that are at most x. Both are 0 for equal samples; KS is at
// most 1, W1 has the unit of the numbers.
// Source: SciPy, stats.ks_2samp (its statistic) and stats.wasserstein_distance.
#pragma once

#include <span>

namespace mono {

// The samples may differ in size. Error: data where one is empty or holds a value that is not
// finite.
double ks_statistic(std::span<const double> a, std::span<const double> b);
double wasserstein1(std::span<const double> a, std::span<const double> b);

}  // namespace mono
