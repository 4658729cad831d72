#include "train/evaluate/chi_squared.h"

#include <boost/math/special_functions/gamma.hpp>

#include "kernels/base/error.h"

namespace mono {

double chi_squared_upper_tail(double x, double degrees) {
  MONO_CHECK(degrees > 0, "chi-squared with {} degrees of freedom", degrees);
  return x <= 0 ? 1.0 : boost::math::gamma_q(degrees / 2, x / 2);
}

}  // namespace mono
