// The vectorised loop of the moving average. Private to this folder.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/ema/ema.h"

namespace mono {

MONO_DECLARE_SIMD(template <class M>
                  void ema_unit(int64_t n, double beta, M* teacher, const M* student))

}  // namespace mono
