// How far a centre moves towards the mean of its rows: the same on the CPU and on the GPU.
#pragma once

#include "kernels/base/host_device.h"

namespace mono {

MONO_HOST_DEVICE inline double centre_step(const double* shares, int domain, int count, int rows,
                                           double momentum, double most) {
  double weight = 1;
  if (shares) {
    const double here = static_cast<double>(count) / static_cast<double>(rows);
    const double expected = shares[domain];
    weight = here >= most * expected ? most : here / expected;
  }
  return (1 - momentum) * weight;
}

}  // namespace mono
