// The Euclidean norm of a flat array of the arena (gradients, weights), and where it is broken.
#pragma once

#include "runtime/parameter_arena.h"

namespace mono {

// In double, in a fixed order; NaN and infinity propagate.
double flat_norm(const Tensor& array);

// The first parameter, in the order in which a backward pass finishes them, whose piece of the
// array holds a NaN or an infinity; null if there is none.
const Parameter* first_not_finite(const ParameterArena& arena, const Tensor& array);

}  // namespace mono
