// The vectorised loop of AdamW. Private to this folder.
#pragma once

#include "kernels/adamw/adamw.h"
#include "kernels/base/simd_dispatch.h"

namespace mono {

MONO_DECLARE_SIMD(template <class M> void adamw_unit(const AdamWProblem& problem,
                                                     const AdamWRates& rates, double factor,
                                                     int64_t n, M* w, M* m, M* v, const M* g))

}  // namespace mono
