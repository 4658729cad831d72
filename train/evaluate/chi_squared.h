// The chi-squared distribution, from Boost.Math.
#pragma once

namespace mono {

// P(X >= x) for X ~ chi^2 with `degrees` > 0 degrees of freedom; 1 for x <= 0.
double chi_squared_upper_tail(double x, double degrees);

}  // namespace mono
