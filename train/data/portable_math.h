// exp and log from additions, multiplications and divisions alone: the same bits on any machine,
// where the C library's depend on its version and on the CPU. Errors below 2e-15 relative (log
// near 1: absolute). For values that are drawn once for an image, not for arrays.
#pragma once

#include <cmath>
#include <numbers>

namespace mono {

// x > 0, finite.
inline double portable_log(double x) {
  int exponent;
  double m = std::frexp(x, &exponent);  // exact; m in [1/2, 1)
  if (m < std::numbers::sqrt2 / 2) {
    m *= 2;
    --exponent;
  }
  const double z = (m - 1) / (m + 1), z2 = z * z;  // log m = 2 artanh z, |z| < 0.172
  double series = 0;
  for (int k = 23; k >= 1; k -= 2) series = series * z2 + 1.0 / k;
  return exponent * std::numbers::ln2 + 2 * z * series;
}

// |x| < 700.
inline double portable_exp(double x) {
  const double k = std::nearbyint(x / std::numbers::ln2);
  const double r = x - k * std::numbers::ln2;
  double series = 1;
  for (int n = 16; n >= 1; --n) series = 1 + series * r / n;
  return std::ldexp(series, static_cast<int>(k));
}

}  // namespace mono
