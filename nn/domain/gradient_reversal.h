// Gradient reversal and detachment: the two ways to hang a batch head on an embedding.
//
//   gradient reversal (Ganin and Lempitsky 2015; RxRx1, section 4.3):
//     forward  y = x          backward  dx += -lambda * dy
//   The head learns to read the batch; what it would need is pushed out of the embedding.
//
//   detach (stop gradient): forward y = x, nothing backward. The head is a probe: it tells how much
//   of the batch can be read from the embedding and changes nothing.
#pragma once

#include "nn/context.h"

namespace mono {

Variable gradient_reversal(const Variable& x, double lambda, const ForwardContext& context);
// The same with a factor, -lambda, that lies in device memory (one f64): where lambda changes from
// step to step, a recorded step finds that of each replay there.
Variable gradient_reversal(const Variable& x, const Tensor& factor, const ForwardContext& context);
Variable detach(const Variable& x);

}  // namespace mono
