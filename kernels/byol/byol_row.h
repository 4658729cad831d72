// What the CPU and the GPU make of a row's three sums.
#pragma once

#include <cmath>

#include "kernels/base/host_device.h"

namespace mono {

struct ByolRow {
  double p_norm, z_norm, cosine;
  bool clamped;  // ||p|| is below eps, which then stands for it and does not depend on p

  MONO_HOST_DEVICE ByolRow(double pp, double zz, double pz, double eps) {
    p_norm = sqrt(pp);
    z_norm = sqrt(zz);
    clamped = p_norm <= eps;  // NaN is not, and goes through
    if (clamped) p_norm = eps;
    if (z_norm < eps) z_norm = eps;
    cosine = pz / (p_norm * z_norm);
  }
  // d cos / d p = along_z * z + along_p * p
  MONO_HOST_DEVICE double along_z() const { return 1 / (p_norm * z_norm); }
  MONO_HOST_DEVICE double along_p() const { return clamped ? 0 : -cosine / (p_norm * p_norm); }
};

}  // namespace mono
