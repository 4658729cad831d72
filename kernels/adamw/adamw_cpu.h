// The CPU's half of adamw_step. Private to this folder.
#pragma once

#include "kernels/adamw/adamw.h"

namespace mono {

template <class M>
void adamw_step_cpu(const AdamWProblem& problem, AdamWRuns runs, const AdamWRates* rates,
                    double factor, M* w, M* m, M* v, const M* g);

}  // namespace mono
