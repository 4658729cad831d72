// Rows of two matrices, one after the other.
#pragma once

#include "nn/context.h"

namespace mono {

// (Na,D), (Nb,D) packed, of one type -> (Na + Nb, D).
Variable concat_rows(const Variable& a, const Variable& b, const ForwardContext& context);

}  // namespace mono
