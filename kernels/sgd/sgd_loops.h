// The vectorised loop of SGD. Private to this folder.
#pragma once

#include "kernels/base/simd_dispatch.h"
#include "kernels/sgd/sgd.h"

namespace mono {

MONO_DECLARE_SIMD(template <class M>
                  void sgd_unit(const SgdProblem& problem, int64_t n, M* w, M* m, const M* g))

}  // namespace mono
