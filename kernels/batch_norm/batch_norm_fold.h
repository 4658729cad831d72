// One element of batch_norm_fold, for host loops and kernels: the same bits wherever it runs.
#pragma once

#include <cmath>

#include "kernels/base/host_device.h"

namespace mono {

template <class M>
struct ScaleShift {
  M scale, shift;
};
template <class M>
MONO_HOST_DEVICE ScaleShift<M> batch_norm_fold_one(M gamma, M beta, M mean, M variance,
                                                   double eps) {
  const M scale = static_cast<M>(gamma / sqrt(double{variance} + eps));
  // From the rounded scale: the error of scale * x + shift is then one of xhat, however large the
  // mean.
  return {scale, static_cast<M>(beta - double{mean} * scale)};
}

}  // namespace mono
